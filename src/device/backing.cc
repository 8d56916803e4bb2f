#include "device/backing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>

#include "base/fault_point.h"
#include "base/mark.h"
#include "base/trace.h"
#include "device/carrier.h"
#include "device/describe.h"

namespace holdfast::device {
namespace {

// The most that one system call gives back, so that the lock is not held for long.
constexpr std::uint64_t kPunchBytes = GiB;
constexpr std::uint64_t kBitmaps = 3;

std::uint64_t chunk_bytes(const Geometry& geometry) { return std::max(2 * MiB, geometry.page_bytes); }

}  // namespace

Result<std::unique_ptr<Backing>> Backing::create(int fd, const std::string& name, const Geometry& geometry) {
  const std::uint64_t chunks = round_up(geometry.size, chunk_bytes(geometry)) / chunk_bytes(geometry);
  const std::uint64_t words = round_up(chunks, kBitsPerWord) / kBitsPerWord;
  // Fresh anonymous memory is zero, and zero is a valid word without bits.
  static_assert(Word::is_always_lock_free && sizeof(Word) == sizeof(std::uint64_t));
  void* memory = mmap(nullptr, kBitmaps * words * sizeof(Word), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return failed(errno, name, "no memory to remember what is allocated");
  return std::unique_ptr<Backing>(new Backing(fd, name, geometry, static_cast<Word*>(memory), words));
}

Backing::Backing(int fd, std::string name, const Geometry& geometry, Word* words, std::uint64_t word_count)
    : fd_(fd),
      identity_(fd),
      name_(std::move(name)),
      geometry_(geometry),
      chunk_bytes_(chunk_bytes(geometry)),
      words_(words),
      units_(words + word_count),
      known_(words + 2 * word_count),
      word_count_(word_count) {}

Backing::~Backing() { munmap(words_, kBitmaps * word_count_ * sizeof(Word)); }

void Backing::set_complete(std::uint64_t chunk) {
  words_[chunk / kBitsPerWord].fetch_or(bit_of(chunk), std::memory_order_release);  // pairs with is_complete
}

void Backing::clear_complete(std::uint64_t first_chunk, std::uint64_t last_chunk) {
  for (std::uint64_t chunk = first_chunk; chunk <= last_chunk;) {
    if (chunk % kBitsPerWord == 0 && last_chunk - chunk >= kBitsPerWord - 1) {
      // An untouched word stays untouched: a load of fresh memory maps the shared zero page.
      for (Word* const words : {words_, known_}) {
        Word& word = words[chunk / kBitsPerWord];
        if (word.load(std::memory_order_relaxed) != 0) word.store(0, std::memory_order_relaxed);
      }
      chunk += kBitsPerWord;
    } else {
      words_[chunk / kBitsPerWord].fetch_and(~bit_of(chunk), std::memory_order_relaxed);
      if (has(known_, chunk)) known_[chunk / kBitsPerWord].fetch_and(~bit_of(chunk), std::memory_order_relaxed);
      ++chunk;
    }
  }
}

Status Backing::reserve(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const std::uint64_t chunk = offset / chunk_bytes_;
    const std::uint64_t piece_end = std::min(end, (chunk + 1) * chunk_bytes_);
    if (!is_complete(chunk)) HF_TRY(reserve_in_chunk(chunk, offset, piece_end));
    offset = piece_end;
  }
  return {};
}

// The lock is taken for one chunk at a time: at most 2 MiB (or one huge page) are cleared under it.
Status Backing::reserve_in_chunk(std::uint64_t chunk, std::uint64_t offset, std::uint64_t end) {
  const std::uint64_t chunk_begin = chunk * chunk_bytes_;
  const std::uint64_t chunk_end = std::min(geometry_.size, chunk_begin + chunk_bytes_);
  const std::uint64_t exact_begin = round_down(offset, geometry_.page_bytes);
  const std::uint64_t exact_end = round_up(end, geometry_.page_bytes);
  const bool exact_is_chunk = exact_begin == chunk_begin && exact_end == chunk_end;

  const MutexLock lock(mutex_);
  if (is_complete(chunk)) return {};
  HF_MARK("backing.allocate");
  int code = ENOSPC;
  if (exact_is_chunk || carrier_has_room_for_chunk()) {
    code = allocate(chunk_begin, chunk_end);
    if (code == 0) {
      HF_MARK("backing.allocated");
      set_complete(chunk);
      HF_TRACE2(device_reserve, chunk_begin, chunk_end - chunk_begin);
      return {};
    }
  }
  const bool out_of_space = code == ENOSPC || code == ENOMEM || code == EDQUOT;
  if (out_of_space && !exact_is_chunk) code = allocate(exact_begin, exact_end);
  if (code != 0) return cannot_allocate(code, exact_end - exact_begin);
  HF_TRACE2(device_reserve, exact_begin, exact_end - exact_begin);
  return {};
}

// A failed allocation of a chunk may leave part of it allocated on a disk, and so take the space that the exact range
// needed. So near the end of the space chunks are not even tried. No limit (a memfd) shows as 0 blocks.
bool Backing::carrier_has_room_for_chunk() const {
  if (geometry_.kind == Kind::memory || geometry_.kind == Kind::hugetlb_file) return true;
  struct statfs file_system {};
  if (fstatfs(fd_, &file_system) != 0 || file_system.f_blocks == 0) return true;
  return static_cast<std::uint64_t>(file_system.f_bavail) >=
         2 * chunk_bytes_ / static_cast<std::uint64_t>(file_system.f_bsize);
}

// fallocate of [offset, end); 0 or an errno value. A signal may interrupt it, and kernels exist whose tmpfs then undoes
// all of it: smaller pieces are tried, so that even a storm of signals leaves progress.
int Backing::allocate(std::uint64_t offset, std::uint64_t end) {
  identity_.check(name_);
  std::uint64_t most = end - offset;
  while (offset < end) {
    const std::uint64_t piece = std::min(most, end - offset);
    HF_MARK("backing.piece");
    const bool interrupted = HF_FAULT_POINT("backing.interrupted");
    if (!interrupted &&
        fallocate(fd_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(piece)) == 0) {
      offset += piece;
    } else if (interrupted || errno == EINTR) {
      most = std::max(geometry_.page_bytes, round_down(piece / 2, geometry_.page_bytes));
    } else {
      return errno;
    }
  }
  return 0;
}

Error Backing::cannot_allocate(int code, std::uint64_t bytes) const {
  const std::string what = fmt::format("cannot allocate {}", describe_bytes(bytes));
  if (code == EOPNOTSUPP) {
    return {ENOTSUP, name_, "its file system cannot allocate space ahead of stores (fallocate)",
            "keep the pool on ext4, xfs, btrfs or tmpfs"};
  }
  if (code != ENOSPC && code != ENOMEM && code != EDQUOT) return failed(code, name_, what);
  if (geometry_.page_bytes > kPageBytes) {
    const Error missing = huge_pages_missing(name_, bytes, geometry_.page_bytes);
    return {ENOSPC, name_, fmt::format("{}: {}", what, missing.reason()), missing.remedy()};
  }
  static constexpr auto remedy = [](Kind kind) {
    switch (kind) {
      case Kind::memory:
        return "free memory, or raise the memory limit of this program";
      case Kind::tmpfs_file:
        return "delete files there, or enlarge the tmpfs (mount -o remount,size=...)";
      default:
        return "delete files there, or move the pool to a larger file system";
    }
  };
  return {ENOSPC, name_, fmt::format("{}: {}", what, describe_errno(code)), remedy(geometry_.kind)};
}

bool Backing::give_back(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = round_down(offset + length, geometry_.page_bytes);
  std::uint64_t next = round_up(offset, geometry_.page_bytes);
  while (next < end) {
    const std::uint64_t piece = std::min(end - next, kPunchBytes);
    HF_MARK("backing.give_back");
    const MutexLock lock(mutex_);
    clear_complete(next / chunk_bytes_, (next + piece - 1) / chunk_bytes_);
    HF_MARK("backing.cleared");
    identity_.check(name_);
    int code = 0;
    do {
      code = fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(next),
                       static_cast<off_t>(piece)) == 0
                 ? 0
                 : errno;
    } while (code == EINTR);
    HF_TRACE3(device_give_back, next, piece, code);
    if (code != 0) return false;
    next += piece;
  }
  return true;
}

}  // namespace holdfast::device
