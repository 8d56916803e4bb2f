// Pages that a transfer of a process that died may still hold: the kernel keeps what it was given until the device
// answers, and a later owner of the page would get those bytes. A page that is no longer the file's can be held by
// whoever likes.
//
// What can be known without asking who holds what, by carrier:
//   tmpfs, memory  A hole has no page. Punching makes one, and lseek(SEEK_DATA) says where it did not: of a large page
//                  that is held only the whole can be punched; a part is filled with zeros and stays.
//   hugetlb        Punching takes whole pages away, held or not.
//   disk           posix_fadvise(DONTNEED) drops clean pages of the page cache that nobody holds, and no others; what
//                  mincore(2) still finds is held, or was for a moment. Contents stay, and so does the space.
//   /dev/dax       Nothing: the memory is what it is. The driver waits for transfers when it is unbound.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/fault_point.h"
#include "base/trace.h"
#include "device/device.h"
#include "device/device_parts.h"

namespace holdfast::device {
namespace {

constexpr std::uint64_t kLookedAtOnce = GiB;

// cachestat(2) of 6.5; newer than the headers of Debian 12.
constexpr long kCachestat = 451;
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t length;
};
struct Cachestat {
  std::uint64_t cached;
  std::uint64_t others[4];
};

// Whether the page cache has nothing of the range: known at once, where the kernel says how much it has.
bool has_left_cache(int fd, std::uint64_t begin, std::uint64_t end) {
  CachestatRange range{begin, end - begin};
  Cachestat found{};
  return syscall(kCachestat, fd, &range, &found, 0) == 0 && found.cached == 0;
}

void visit_bytes(std::uint64_t begin, std::uint64_t end, const HeldVisitor& held) {
  if (begin < end) held(Pfn(begin / kPageBytes), PageCount((end - begin) / kPageBytes));
}

void visit_memory(int fd, std::uint64_t begin, std::uint64_t end, const HeldVisitor& held) {
  while (begin < end) {
    const off_t data = lseek(fd, static_cast<off_t>(begin), SEEK_DATA);
    if (data < 0) {
      if (errno != ENXIO) visit_bytes(begin, end, held);
      return;
    }
    const std::uint64_t from = std::max(begin, round_down(static_cast<std::uint64_t>(data), kPageBytes));
    if (from >= end) return;
    const off_t hole = lseek(fd, data, SEEK_HOLE);
    const std::uint64_t to = hole < 0 ? end : std::min(end, round_up(static_cast<std::uint64_t>(hole), kPageBytes));
    visit_bytes(from, to, held);
    begin = to;
  }
}

void visit_resident(int fd, std::byte* window, std::uint64_t begin, std::uint64_t end, const HeldVisitor& held) {
  std::vector<unsigned char> resident;
  for (std::uint64_t piece = 0; begin < end; begin += piece) {
    piece = std::min(end - begin, kLookedAtOnce);
    if (has_left_cache(fd, begin, begin + piece)) continue;
    resident.assign(piece / kPageBytes, 1);
    // An error leaves every page for held.
    static_cast<void>(mincore(window + begin, piece, resident.data()));
    const auto is_resident = [](unsigned char page) { return (page & 1U) != 0; };
    for (auto at = resident.begin();;) {
      const auto from = std::find_if(at, resident.end(), is_resident);
      if (from == resident.end()) break;
      at = std::find_if_not(from, resident.end(), is_resident);
      const std::uint64_t first = begin + static_cast<std::uint64_t>(from - resident.begin()) * kPageBytes;
      visit_bytes(first, first + static_cast<std::uint64_t>(at - from) * kPageBytes, held);
    }
  }
}

}  // namespace

bool Device::replaces_memory() const {
  if (HF_FAULT_POINT("device.replaces_memory")) return false;
  return parts_->backing != nullptr && !parts_->is_inherited() && geometry_.kind != Kind::devdax;
}

void Device::part_from_transfers(Pfn first, PageCount count, Contents contents, const HeldVisitor& held) {
  const std::uint64_t begin = first.bytes();
  const std::uint64_t end = begin + count.bytes();
  if (begin >= end) return;
  HF_TRACE2(device_part, begin, end - begin);
  if (!replaces_memory()) return held(first, count);
  switch (geometry_.kind) {
    case Kind::memory:
    case Kind::tmpfs_file: {
      if (geometry_.page_bytes > kPageBytes) break;
      const off_t data = lseek(fd_, static_cast<off_t>(begin), SEEK_DATA);
      const bool has_memory = data >= 0 ? static_cast<std::uint64_t>(data) < end : errno != ENXIO;
      if (!has_memory) return;
      if (contents == Contents::lost) static_cast<void>(give_back(first, count));
      return visit_memory(fd_, begin, end, held);
    }
    case Kind::disk_file:
      // Our own translations would keep the pages; what is dirty stays in the cache.
      if (madvise(at(begin), end - begin, MADV_DONTNEED) != 0 ||
          sync_file_range(fd_, static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) != 0) {
        return held(first, count);
      }
      static_cast<void>(
          posix_fadvise(fd_, static_cast<off_t>(begin), static_cast<off_t>(end - begin), POSIX_FADV_DONTNEED));
      return visit_resident(fd_, window_, begin, end, held);
    case Kind::hugetlb_file:
    case Kind::devdax:
      break;
  }
  // Large pages: whole ones or none.
  const std::uint64_t from = std::min(end, round_up(begin, geometry_.page_bytes));
  const std::uint64_t to = std::max(from, round_down(end, geometry_.page_bytes));
  const bool replaced =
      contents == Contents::lost && from < to && give_back(Pfn(from / kPageBytes), PageCount((to - from) / kPageBytes));
  if (!replaced) return held(first, count);
  visit_bytes(begin, from, held);
  visit_bytes(to, end, held);
}

}  // namespace holdfast::device
