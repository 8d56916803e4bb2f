#include "device/write_back.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fault_point.h"
#include "base/mark.h"
#include "base/trace.h"
#include "base/units.h"
#include "device/describe.h"

namespace holdfast::device {
namespace {

// More ranges than this are worth sorting; more distinct ones than half of it are written as one hull.
constexpr std::size_t kMostRanges = 4096;

// sync_file_range or an errno value. It writes pages and waits for them, and leaves metadata and the disk's cache
// alone.
int sync_pages(int fd, std::uint64_t begin, std::uint64_t end, unsigned flags) {
  while (sync_file_range(fd, static_cast<off64_t>(begin), static_cast<off64_t>(end - begin), flags) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

bool syncs_whole_files(int fd) {
  constexpr std::uint32_t kExt = 0xef53;  // ext2 to ext4
  constexpr std::uint32_t kXfs = 0x58465342;
  struct statfs host {};
  if (HF_FAULT_POINT("write_back.unknown_host") || fstatfs(fd, &host) != 0) return false;
  const auto type = static_cast<std::uint32_t>(host.f_type);
  return type == kExt || type == kXfs;
}

}  // namespace

WriteBack::WriteBack(int fd, std::byte* window, std::string name)
    : fd_(fd), identity_(fd), window_(window), name_(std::move(name)), one_range_syncs_all_(syncs_whole_files(fd)) {}

void WriteBack::flush(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  const Range range{round_down(offset, kPageBytes), round_up(offset + length, kPageBytes)};
  const MutexLock lock(mutex_);
  if (!pending_.empty()) {
    Range& last = pending_.back();
    if (range.begin <= last.end && last.begin <= range.end) {
      last = {std::min(last.begin, range.begin), std::max(last.end, range.end)};
      return;
    }
  }
  pending_.push_back(range);
  if (pending_.size() <= kMostRanges) return;
  merge(pending_);
  if (pending_.size() > kMostRanges / 2) pending_ = {{pending_.front().begin, pending_.back().end}};
}

// Sorts, and joins ranges that overlap or touch.
void WriteBack::merge(std::vector<Range>& ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::size_t kept = 0;
  for (const Range& range : ranges) {
    if (kept > 0 && range.begin <= ranges[kept - 1].end) {
      ranges[kept - 1].end = std::max(ranges[kept - 1].end, range.end);
    } else {
      ranges[kept++] = range;
    }
  }
  ranges.erase(ranges.begin() + static_cast<std::ptrdiff_t>(kept), ranges.end());
}

Error WriteBack::lost() const {
  return {EIO, name_,
          fmt::format("a write to the disk failed ({}); what was stored since the last successful fence may be lost",
                      describe_errno(failure_)),
          "look into the kernel log; close the pool, check it, and open it again"};
}

Status WriteBack::fence() {
  std::vector<Range> ranges;
  {
    const MutexLock lock(mutex_);
    if (writing_) HF_MARK("write_back.wait");
    while (writing_) write_ended_.wait(mutex_);
    if (failure_ != 0) return lost();
    if (pending_.empty()) return {};
    ranges.swap(pending_);
    writing_ = true;
  }
  HF_MARK("write_back.writing");
  merge(ranges);
  const int code = HF_FAULT_POINT("write_back.write") ? EIO : write(ranges);
  HF_TRACE2(device_fence, ranges.size(), code);
  const MutexLock lock(mutex_);
  writing_ = false;
  if (code != 0) failure_ = code;
  write_ended_.notify_all();
  if (failure_ != 0) return lost();
  return {};
}

// Starts all, waits for all, then one msync of the last range: that commits the metadata of every page written before
// (new extents included) and flushes the disk's cache once. Tests:
// WriteBackOnDisk.FenceWritesTheFlushedRangesAndNoOthers,
// WriteBackOnDisk.SeveralRangesOnAnUnknownFileSystemSyncTheFile.
int WriteBack::write(const std::vector<Range>& ranges) const {
  const Range& last = ranges.back();
  if (ranges.size() > 1) {
    identity_.check(name_);
    static constexpr unsigned kStart = SYNC_FILE_RANGE_WRITE;
    static constexpr unsigned kFinish =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    for (const unsigned flags : {kStart, kFinish}) {
      for (const Range& range : ranges) {
        if (&range == &last) continue;
        if (const int code = sync_pages(fd_, range.begin, range.end, flags); code != 0) return code;
      }
    }
    if (!one_range_syncs_all_) {
      HF_MARK("write_back.fdatasync");
      while (fdatasync(fd_) != 0) {
        if (errno != EINTR) return errno;
      }
      return 0;
    }
  }
  while (msync(window_ + last.begin, last.end - last.begin, MS_SYNC) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

}  // namespace holdfast::device
