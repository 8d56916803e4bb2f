#include "filesystem/allocation.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <memory>
#include <utility>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/lease.h"
#include "filesystem/lookup.h"
#include "filesystem/removal.h"
#include "filesystem/windows.h"
#include "filesystem/worker.h"

namespace holdfast::filesystem {
namespace {

constexpr std::uint64_t kAheadBytesMin = 64 * KiB;
constexpr std::uint64_t kAheadBytesMax = 2 * MiB;

// The end of what is allocated for a file that grows into `range`: as much ahead as it is long.
PageIndex end_with_ahead(const Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  const std::uint64_t size = inode.attributes.size;
  // The first write of a file says nothing of more to come.
  if (size == 0 || kFileBytesMax - range.end.bytes() < 2 * kAheadBytesMax) return range.end;
  const std::uint64_t ahead = std::clamp(std::bit_floor(size), kAheadBytesMin, kAheadBytesMax);
  return page_after(round_up(range.end.bytes() + ahead, ahead));
}

// In one handle; returns how far it came. `came` is what was a hole before.
Result<PageIndex> allocate_part(Inode& inode, PageRange range, std::vector<PageRange>& came) HF_REQUIRES(inode.lock) {
  Format& format = inode.core.format();
  // At worst no two clusters follow each other; the range may begin and end inside of one.
  const auto extents = static_cast<std::uint32_t>(range.count().raw() / format.cluster().raw() + 2);
  HF_ASSIGN(const std::unique_ptr<Handle> handle, format.begin({.inodes = 1, .extents = extents, .takes_space = true}));
  std::vector<Extent> added;
  HF_ASSIGN(const PageIndex end, format.allocate(*handle, inode.number, range, Initial::unwritten, added));
  handle->done();
  // Large pages show new blocks beside old ones: see zero_unwritten in windows.cc.
  const bool shown_at_once = shown_unit(inode) > PageCount(1);
  for (const Extent& extent : added) {
    if (shown_at_once) {
      Status zeroed = zero_device(inode, extent.pfn, 0, extent.count.bytes());
      // The format has the blocks all the same: what was known of holes is not true any more.
      if (!zeroed) inode.extents.forget();
      HF_TRY(std::move(zeroed));
    }
    inode.extents.add(extent);
    came.push_back({extent.index, extent.index + extent.count});
  }
  refresh_windows(inode, {range.first, end});
  return end;
}

// Where free space lies in many pieces it takes several handles. All of the range, or nothing of it; but blocks that
// somebody touched meanwhile stay, unwritten.
Status allocate_all(Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  std::vector<PageRange> came;
  while (!range.empty()) {
    const Result<PageIndex> end = allocate_part(inode, range, came);
    HF_MARK("allocation.part");
    if (!end) {
      if (end.error().code() == ENOSPC) {
        for (const PageRange& each : came) HF_TRY(give_back(inode, each, Nanoseconds(0)));
      }
      return Error(end.error());
    }
    range.first = *end;
  }
  return {};
}

// The end of the hole that begins at `range.first`, at most range.end.
Result<PageIndex> hole_end(Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  PageIndex at = range.first;
  while (at < range.end) {
    HF_ASSIGN(const Found found, locate(inode, at));
    if (found.kind != Found::Kind::hole) break;
    at += found.count;
  }
  return std::min(at, range.end);
}

// Whether the range has a hole.
Result<bool> has_hole(Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  for (PageIndex at = range.first; at < range.end;) {
    HF_ASSIGN(const Found found, locate(inode, at));
    if (found.kind == Found::Kind::hole) return true;
    at += found.count;
  }
  return false;
}

// The whole clusters of the range, and those at its borders that hold nothing else of the file. The format frees no
// part of a cluster.
Result<PageRange> whole_clusters(Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  const std::uint64_t cluster = std::max(inode.core.format().cluster(), shown_unit(inode)).raw();
  const PageIndex first(round_down(range.first.raw(), cluster));
  const PageIndex end(std::min(round_up(range.end.raw(), cluster), page_after(kFileBytesMax).raw()));
  HF_ASSIGN(const PageIndex hole_before, hole_end(inode, {first, range.first}));
  HF_ASSIGN(const PageIndex hole_behind, hole_end(inode, {range.end, end}));
  return PageRange{
      hole_before == range.first ? first : PageIndex(round_up(range.first.raw(), cluster)),
      hole_behind == end ? end : PageIndex(round_down(range.end.raw(), cluster)),
  };
}

// Blocks past the end of the file.
Status drop(Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  // The unit that holds the end of the file may be mapped whole: its blocks stay.
  if (!range.empty() && range.first > PageIndex(0)) {
    const mapping::Entry entry = inode.mapping.lookup(range.first - PageCount(1));
    if (entry.has_page()) range.first = std::max(range.first, range.first.align_up(entry.order()));
  }
  range.first = PageIndex(round_up(range.first.raw(), shown_unit(inode).raw()));
  if (range.empty()) return {};
  return give_back(inode, range, Nanoseconds(0));
}

}  // namespace

Result<PageRange> fill_holes(Inode& inode, PageRange range, Ahead ahead) {
  range = out_to_shown_units(inode, range);
  HF_ASSIGN(const bool hole, has_hole(inode, range));
  if (!hole) return PageRange{range.first, range.first};
  // Leases that were listed after the caller had recalled those that were there: such a one saw the hole before this,
  // under the inode's lock, and is told now; or it sees the block. Test: Leases.AFillMeetsANewLease.
  tell_later(inode.core, layout::claim(inode.mapping, range, RecallReason::write));
  if (ahead == Ahead::yes) {
    // Blocks that are there already are somebody's wish (fallocate): they are not ours to drop.
    HF_ASSIGN(const PageIndex end, hole_end(inode, {range.end, end_with_ahead(inode, range)}));
    if (const PageRange more{range.first, end}; more.end > range.end) {
      const Status all = allocate_all(inode, more);
      if (all) {
        inode.ahead_end = std::max(inode.ahead_end, more.end);
        inode.core.note_ahead();
        return more;
      }
      if (all.error().code() != ENOSPC) return Error(all.error());
    }
  }
  const Status status = allocate_all(inode, range);
  if (status) return range;
  if (status.error().code() != ENOSPC) return Error(status.error());
  // What was freed lately may be used after a commit.
  HF_MARK("allocation.commits");
  HF_TRY(inode.core.format().commit());
  HF_TRY(allocate_all(inode, range));
  return range;
}

Status drop_ahead(Inode& inode) {
  const PageIndex ahead_end = inode.ahead_end;
  inode.ahead_end = PageIndex(0);
  return drop(inode, {page_after(inode.attributes.size), ahead_end});
}

Status drop_past_the_end(Inode& inode) {
  inode.ahead_end = PageIndex(0);
  std::vector<Extent> extents;
  HF_TRY(inode.core.format().extents(inode.number, {page_after(inode.attributes.size), kEndOfFile}, extents));
  if (extents.empty()) return {};
  return drop(inode, {page_after(inode.attributes.size), extents.back().index + extents.back().count});
}

Status give_back(Inode& inode, PageRange added, Nanoseconds patience) {
  HF_ASSIGN(const PageRange range, whole_clusters(inode, added));
  if (range.empty()) return {};
  // A writer may be filling the blocks at this moment, and a unit that holds the end of the file may have been tracked
  // with them: then they stay. Behind the closed gate neither begins.
  const bool quiet = inode.mapping.close_gate(range, patience);
  Status status;
  if (quiet && inode.mapping.round_to_units(range) == range && !inode.mapping.zap(range)) {
    inode.removals.fetch_add(1, std::memory_order_release);  // W3; partner: the loads in write.cc
    status = leave_windows(inode, range);
    if (status) {
      status = remove_in_steps(inode, range);
      if (status) {
        inode.extents.remove(range);
        inode.mapping.remove(range);
      } else {
        inode.extents.forget();
      }
      refresh_windows(inode, range);
    }
  }
  inode.mapping.open_gate(range);
  return status;
}

void make_space(Core& core) {
  // Files without names and handles go on the worker's thread, which may not have begun.
  core.worker().serve();
  if (!core.take_ahead_note()) return;
  core.inodes().for_each([](Inode& inode) {
    const MutexLock lock(inode.lock);
    if (inode.ahead_end != PageIndex(0)) static_cast<void>(drop_ahead(inode));
  });
}

}  // namespace holdfast::filesystem
