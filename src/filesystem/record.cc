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
constexpr std::size_t kRangesAHandle = 2 * kRangesMax;  // what a journal takes at once, for one

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

// By what the format knows: the cache may have forgotten.
Status order_range(Inode& inode, PageRange range) {
  device::Device& device = inode.core.device();
  if (!keeps_bytes(device)) return {};
  std::vector<Extent> extents;
  HF_TRY(inode.core.format().extents(inode.number, range, extents));
  for (const Extent& extent : extents) HF_TRY(order_bytes(device, extent));
  return {};
}

}  // namespace

void mark_written(Inode& inode, PageRange range) {
  if (range.empty()) return;
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
    const std::size_t left = inode.unrecorded.size() - std::min(inode.unrecorded.size(), kRangesAHandle);
    // A range in the middle of an extent cuts it in three.
    const auto extents = static_cast<std::uint32_t>(1 + 2 * (inode.unrecorded.size() - left));
    HF_ASSIGN(const std::unique_ptr<Handle> handle, format.begin({.inodes = 1, .extents = extents}));
    HF_TRY(format.write_inode(*handle, inode.number, inode.attributes));
    while (inode.unrecorded.size() > left) {
      HF_TRY(order_range(inode, inode.unrecorded.back()));
      HF_TRY(format.mark_written(*handle, inode.number, inode.unrecorded.back()));
      inode.unrecorded.pop_back();
    }
  } while (!inode.unrecorded.empty());
  inode.attributes_unrecorded = false;
  return {};
}

Status record(Inode& inode) {
  const MutexLock lock(inode.lock);
  return record_locked(inode);
}

Status record_if_many(Inode& inode) { return inode.unrecorded.size() > kRangesMax ? record_locked(inode) : Status(); }

}  // namespace holdfast::filesystem
