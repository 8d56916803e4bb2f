#include "filesystem/record.h"

#include <algorithm>
#include <memory>

#include "filesystem/core.h"
#include "filesystem/ordered.h"
#include "filesystem/times.h"
#include "filesystem/windows.h"

namespace holdfast::filesystem {
namespace {

constexpr std::size_t kRangesMax = 64;
// What a journal takes at once, for one.
constexpr std::size_t kRangesAHandle = 2 * kRangesMax;
constexpr std::size_t kExtentsAHandle = 4096;
constexpr std::size_t kExtentsANode = 50;

void note_written(Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  std::vector<PageRange>& notes = inode.unrecorded;
  // A file that grows extends its last note.
  if (!notes.empty() && notes.back().end == range.first) {
    notes.back().end = range.end;
    return;
  }
  // The first note that touches the range, and the first behind it.
  const auto first = std::lower_bound(notes.begin(), notes.end(), range.first,
                                      [](const PageRange& note, PageIndex index) { return note.end < index; });
  auto last = first;
  while (last != notes.end() && last->first <= range.end) {
    range = {std::min(range.first, last->first), std::max(range.end, last->end)};
    ++last;
  }
  if (first == last) {
    notes.insert(first, range);
  } else {
    *first = range;
    notes.erase(first + 1, last);
  }
}

// What is recorded in one handle.
struct Part {
  std::vector<PageRange> ranges;
  std::size_t extents = 0;
};

// The next part, from the end. By what the format knows, as the cache may have forgotten, and with the bytes flushed.
Result<Part> next_part(Inode& inode) HF_REQUIRES(inode.lock) {
  device::Device& device = inode.core.device();
  Part part;
  std::vector<Extent> extents;
  auto left = inode.unrecorded.rbegin();
  for (; left != inode.unrecorded.rend() && part.ranges.size() < kRangesAHandle; ++left) {
    PageRange range = *left;
    extents.clear();
    HF_TRY(inode.core.format().extents(inode.number, range, extents));
    std::size_t first = 0;
    if (part.extents + extents.size() > kExtentsAHandle) {
      if (!part.ranges.empty()) break;
      first = extents.size() - kExtentsAHandle;
      range.first = extents[first].index;
    }
    for (std::size_t i = first; i < extents.size() && keeps_bytes(device); ++i) {
      HF_TRY(order_bytes(device, extents[i]));
    }
    part.ranges.push_back(range);
    part.extents += extents.size() - first;
  }
  return part;
}

}  // namespace

void mark_written(Inode& inode, PageRange range) {
  if (range.empty()) return;
  note_reach(inode);
  inode.extents.mark_written(range);
  note_written(inode, range);
  refresh_windows(inode, range);
}

void forget_unrecorded(Inode& inode, PageRange range) {
  std::vector<PageRange> kept;
  for (const PageRange& note : inode.unrecorded) {
    const PageRange before{note.first, std::min(note.end, range.first)};
    const PageRange after{std::max(note.first, range.end), note.end};
    if (!before.empty()) kept.push_back(before);
    if (!after.empty()) kept.push_back(after);
  }
  inode.unrecorded = std::move(kept);
}

bool needs_recording(Inode& inode) {
  if (fold_times(inode)) inode.attributes_unrecorded = true;
  return inode.attributes_unrecorded || !inode.unrecorded.empty();
}

Status record_locked(Inode& inode) {
  if (!needs_recording(inode)) return {};
  if (inode.core.read_only()) return {};
  Format& format = inode.core.format();
  // The size goes first: written blocks past the end of a file are damage.
  do {
    HF_ASSIGN(const Part part, next_part(inode));
    // A range in the middle of an extent cuts it in three; one that has many changes the nodes that they lie in.
    const auto extents = static_cast<std::uint32_t>(1 + 2 * part.ranges.size());
    const auto nodes = static_cast<std::uint32_t>(part.extents / kExtentsANode);
    HF_ASSIGN(const std::unique_ptr<Handle> handle,
              format.begin({.inodes = 1, .extents = extents, .extent_nodes = nodes}));
    HF_TRY(format.write_inode(*handle, inode.number, inode.attributes));
    handle->done();
    for (const PageRange& range : part.ranges) {
      HF_TRY(format.mark_written(*handle, inode.number, range));
      handle->done();
      forget_unrecorded(inode, range);
    }
  } while (!inode.unrecorded.empty());
  inode.attributes_unrecorded = false;
  note_recorded(inode);
  return {};
}

Status record(Inode& inode) {
  const MutexLock lock(inode.lock);
  return record_locked(inode);
}

Status record_if_many(Inode& inode) { return inode.unrecorded.size() > kRangesMax ? record_locked(inode) : Status(); }

}  // namespace holdfast::filesystem
