#include "filesystem/evict.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "base/fault_point.h"
#include "base/mark.h"
#include "base/trace.h"
#include "filesystem/core.h"
#include "filesystem/lease.h"
#include "filesystem/quarantine.h"
#include "filesystem/removal.h"
#include "filesystem/worker.h"
#include "layout/final.h"

namespace holdfast::filesystem {
namespace {

constexpr PageRange kEverything{PageIndex(0), kEndOfFile};

using StillHeld = std::function<bool(PageIndex)>;

// The runs of an extent that nobody holds.
std::vector<PageRange> idle_runs(const Core& core, const Extent& extent, const StillHeld& held) {
  std::vector<PageRange> runs;
  const pagemap::PageMap& pages = core.pages();
  const PageIndex end = extent.index + extent.count;
  for (PageIndex at = extent.index; at < end;) {
    const Pfn pfn = extent.pfn + (at - extent.index);
    PageIndex busy = at + (pages.first_busy(pfn, end - at) - pfn);
    if (held) {
      for (PageIndex page = at; page < busy; page += PageCount(1)) {
        if (held(page)) busy = page;
      }
    }
    if (busy > at) runs.push_back({at, busy});
    if (busy >= end) break;
    // Past the whole of a pinned unit at once; `held` says it of single pages.
    const Pfn busy_pfn = extent.pfn + (busy - extent.index);
    at = std::max(busy + PageCount(1), busy + (pages.first_idle(busy_pfn, end - busy) - busy_pfn));
  }
  return runs;
}

// Frees the idle pages of an orphan; returns the bytes that are left.
Result<std::uint64_t> free_idle(Inode& orphan, const StillHeld& held) HF_REQUIRES(orphan.lock) {
  Format& format = orphan.core.format();
  std::vector<Extent> extents;
  HF_TRY(format.extents(orphan.number, kEverything, extents));
  HF_MARK("evict.looks");
  std::vector<PageRange> idle;
  std::uint64_t left = 0;
  for (const Extent& extent : extents) {
    left += extent.count.bytes();
    for (const PageRange run : idle_runs(orphan.core, extent, held)) {
      if (!idle.empty() && idle.back().end == run.first) {
        idle.back().end = run.end;
      } else {
        idle.push_back(run);
      }
    }
  }
  if (idle.empty()) return left;
  if (HF_FAULT_POINT("evict.free")) return Error(EIO, orphan.path_hint(), "made to fail");
  // From the end, so that the inode shrinks. When nothing is held, one range is all of it.
  std::uint64_t free = 0;
  for (const PageRange run : idle) free += run.count().bytes();
  const bool all = free == left;
  if (all) idle = {kEverything};
  for (auto run = idle.rbegin(); run != idle.rend(); ++run) HF_TRY(remove_in_steps(orphan, *run));
  if (all) return std::uint64_t{0};
  // Whole clusters only went: count what is there.
  extents.clear();
  HF_TRY(format.extents(orphan.number, kEverything, extents));
  left = 0;
  for (const Extent& extent : extents) left += extent.count.bytes();
  return left;
}

// The handle in which the number is to become free.
Result<std::unique_ptr<Handle>> begin_to_free_number(const Inode& inode) {
  Format& format = inode.core.format();
  HF_ASSIGN(std::unique_ptr<Handle> handle, format.begin({.inodes = 2, .attribute_blocks = 1}));
  HF_TRY(format.remove_all_attributes(*handle, inode.number));
  HF_TRY(format.remove_orphan(*handle, inode.number));
  return handle;
}

// Object and record go first: as soon as the number is free, somebody may get it and have an object and a record of his
// own. What fails stays an orphan on the medium, and is in nobody's way.
Status free_number(Inode& inode) {
  Core& core = inode.core;
  const InodeNumber number = inode.number;
  Result<std::unique_ptr<Handle>> handle = begin_to_free_number(inode);
  if (handle) core.inodes().finish_eviction(inode);
  core.quarantine().end(number);
  if (!handle) return std::move(handle).error();
  HF_TRY(core.format().free_inode(**handle, number));
  (*handle)->done();
  return {};
}

void evict(Inode& inode) {
  Core& core = inode.core;
  tell_later(core, layout::break_final(inode.mapping));
  std::uint64_t left = 0;
  {
    const MutexLock lock(inode.lock);
    Result<std::uint64_t> looked = free_idle(inode, nullptr);
    if (!looked) {
      core.note_failure(looked.error());
      return core.quarantine().end(inode.number);  // stays an orphan on the medium
    }
    left = *looked;
    if (left != 0) return core.quarantine().still_held(inode, left);
  }
  HF_MARK("evict.freed");
  if (Status freed = free_number(inode); !freed) core.note_failure(freed.error());
  HF_MARK("evict.number_is_free");
}

bool shares_units(Inode& inode) {
  const MutexLock lock(inode.lock);
  return inode.shares_units;
}

}  // namespace

void look_at(Inode& inode) {
  Core& core = inode.core;
  if (core.inodes().is_evicting(inode)) {
    const bool shares = shares_units(inode);
    evict(inode);
    if (shares) reap_holding(core);
    return;
  }
  const bool holding = core.quarantine().is_holding(inode);
  reap_holding(core);
  if (!holding) return;
  for (const InodeNumber number : core.quarantine().sharers()) {
    if (Inode* const sharer = core.inodes().evicting(number)) evict(*sharer);
  }
}

void reap_holding(Core& core) {
  Quarantine& quarantine = core.quarantine();
  const InodeRef holding = quarantine.holding();
  if (!holding) return;
  InodeRef given_up;  // dropped after the lock: its eviction follows
  const MutexLock lock(holding->lock);
  const StillHeld held = quarantine.waits_for_holds()
                             ? StillHeld([&quarantine](PageIndex index) { return quarantine.held_by_copy(index); })
                             : StillHeld();
  const Result<std::uint64_t> left = free_idle(*holding, held);
  if (!left) {
    core.note_failure(left.error());
    // As in evict. The next look, if there is one, enters it again.
    return quarantine.end(holding->number);
  }
  quarantine.still_held(*holding, *left);
  if (*left == 0 && !quarantine.waits_for_holds()) given_up = quarantine.give_up_holding();
}

Status clean_orphans(Core& core) {
  Format& format = core.format();
  const bool keeps = format.recovery().keeps_orphans;
  HF_ASSIGN(const std::vector<InodeNumber> orphans, format.orphans());
  for (const InodeNumber number : orphans) {
    HF_ASSIGN(const Attributes attributes, format.read_inode(number));
    if (keeps && attributes.links == 0) continue;
    const InodeRef inode = core.inodes().insert_new(number, attributes);
    if (attributes.links == 0) {
      core.inodes().mark_orphan(*inode);
      continue;  // the reference goes, eviction follows
    }
    // A truncate was under way: its size is set, what lies past it is not freed yet.
    const MutexLock lock(inode->lock);
    HF_TRY(remove_in_steps(*inode, {page_after(attributes.size), kEndOfFile}));
    HF_ASSIGN(const std::unique_ptr<Handle> handle, format.begin({.inodes = 2}));
    HF_TRY(format.remove_orphan(*handle, number));
    handle->done();
  }
  return {};
}

}  // namespace holdfast::filesystem
