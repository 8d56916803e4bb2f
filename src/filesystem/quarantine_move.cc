#include "filesystem/quarantine_move.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/dirty.h"
#include "filesystem/lookup.h"
#include "filesystem/quarantine.h"
#include "filesystem/windows.h"
#include "filesystem/worker.h"

namespace holdfast::filesystem {
namespace {

// What a run has at most; the records of more could be more than a handle may change.
constexpr std::size_t kExtentsAStep = 256;

// The device pages of a cluster of the file, of which some may be holes to the file. nullopt: all are.
Result<std::optional<Extent>> cluster_at(Inode& inode, PageRange cluster) HF_REQUIRES(inode.lock) {
  for (PageIndex at = cluster.first; at < cluster.end;) {
    HF_ASSIGN(const Found found, locate(inode, at));
    if (found.kind != Found::Kind::hole) {
      const Pfn first(found.pfn.raw() - (at - cluster.first).raw());
      return std::optional(Extent{cluster.first, first, cluster.count(), found.kind == Found::Kind::unwritten});
    }
    at += found.count;
  }
  return std::optional<Extent>();
}

}  // namespace

// One look at all of the holding inode, whatever came of this: pins that went meanwhile told nobody who knew, and what
// failed on its way may have left an inode without pages, or copies that nobody uses.
QuarantineMove::~QuarantineMove() {
  if (!locked_) return;
  holding_->lock.unlock();
  inode_.core.worker().request(*holding_->release_hook);
}

Status QuarantineMove::find(PageRange leaving, const std::array<Bytes, 2>& edges) {
  edges_ = edges;
  if (!leaving.empty()) HF_TRY(find_runs(leaving));
  for (const Bytes& edge : edges) {
    if (edge.first < edge.second) HF_TRY(find_copies(edge));
  }
  return {};
}

Status QuarantineMove::find_runs(PageRange leaving) {
  std::vector<Extent> extents;
  HF_TRY(inode_.core.format().extents(inode_.number, leaving, extents));
  const std::uint64_t cluster = inode_.core.format().cluster().raw();
  std::vector<PageRange> ranges;
  for (const Extent& extent : extents) {
    for (const layout::BusyPages& busy : commit_.busy(extent.index, extent.pfn, extent.count)) {
      const PageRange range = round_out({busy.index, busy.index + busy.count}, PageCount(cluster));
      if (!ranges.empty() && ranges.back().end >= range.first) {
        ranges.back().end = std::max(ranges.back().end, range.end);
      } else {
        ranges.push_back(range);
      }
    }
  }
  auto extent = extents.begin();
  for (const PageRange& range : ranges) {
    while (extent != extents.end() && extent->index + extent->count <= range.first) ++extent;
    std::vector<Extent> parts;
    for (auto each = extent; each != extents.end() && each->index < range.end; ++each) {
      const PageIndex first = std::max(each->index, range.first);
      const PageIndex end = std::min(each->index + each->count, range.end);
      parts.push_back({first, each->pfn + (first - each->index), end - first, each->unwritten});
    }
    add_run(range, std::move(parts));
  }
  return {};
}

// As several runs, where it has too many extents for one step.
void QuarantineMove::add_run(PageRange range, std::vector<Extent> extents) {
  const std::uint64_t cluster = inode_.core.format().cluster().raw();
  Run run{range, {}, {}};
  for (const Extent& extent : extents) {
    const PageIndex cut(round_down(extent.index.raw(), cluster));
    if (run.extents.size() >= kExtentsAStep && cut >= run.extents.back().index + run.extents.back().count) {
      runs_.push_back({{run.range.first, cut}, {}, std::move(run.extents)});
      run = {{cut, range.end}, {}, {}};
    }
    run.extents.push_back(extent);
  }
  runs_.push_back(std::move(run));
}

Status QuarantineMove::find_copies(Bytes edge) {
  inode_.lock.assert_held();
  const std::uint64_t cluster = inode_.core.format().cluster().raw();
  const PageRange touched = round_out({page_holding(edge.first), page_after(edge.second)}, PageCount(cluster));
  for (PageIndex at = touched.first; at < touched.end; at += PageCount(cluster)) {
    const PageRange whole{at, at + PageCount(cluster)};
    if (!copies_.empty() && copies_.back().range == whole) continue;  // both edges in one cluster
    HF_ASSIGN(const std::optional<Extent> block, cluster_at(inode_, whole));
    if (!block || commit_.busy(block->index, block->pfn, block->count).empty()) continue;
    copies_.push_back({whole, {}, {*block}});
  }
  return {};
}

// The holding inode, locked. A new one is made in a handle of its own: its lock ranks before handles. Empty and on the
// orphan list, it is nobody's loss if nothing follows.
Status QuarantineMove::get_holding() {
  Core& core = inode_.core;
  Quarantine& quarantine = core.quarantine();
  for (;;) {
    holding_ = quarantine.holding();
    if (!holding_) {
      HF_TRY(make_holding());
      continue;
    }
    holding_->lock.lock_second_of_rank();
    locked_ = true;
    if (quarantine.is_holding(*holding_)) return {};
    holding_->lock.unlock();  // given up while its lock was waited for
    locked_ = false;
  }
}

Status QuarantineMove::make_holding() {
  Core& core = inode_.core;
  Format& format = core.format();
  Attributes attributes;
  attributes.permissions = 0600;
  attributes.accessed = attributes.modified = attributes.changed = attributes.created = file_time_now();
  if (HF_FAULT_POINT("quarantine.inode")) return Error(ENOSPC, inode_.path_hint(), "no inode for what is pinned");
  HF_ASSIGN(const std::unique_ptr<Handle> handle, format.begin({.inodes = 2}));
  HF_ASSIGN(const InodeNumber number, format.create_inode(*handle, format.root(), attributes));
  HF_TRY(format.add_orphan(*handle, number));
  handle->done();
  InodeRef fresh = core.inodes().insert_new(number, attributes);
  core.inodes().mark_orphan(*fresh);
  // Somebody else may have made one meanwhile: then this one, without blocks, goes again.
  core.quarantine().offer_holding(std::move(fresh));
  return {};
}

void QuarantineMove::hand_over() {
  if (empty()) return;
  Quarantine& quarantine = inode_.core.quarantine();
  const mapping::LastingHolds& holds = commit_.overrun_holds();
  for (const std::vector<Run>* const list : {&runs_, &copies_}) {
    for (const Run& run : *list) {
      set_owner(run);
      if (!holds.empty()) quarantine.add_holds({run.to, run.to + run.range.count()}, holds);
    }
  }
  HF_MARK("quarantine.handed_over");
}

namespace {

// An entry of its own for a page that is pinned. Of a lost one it is ZAP at once: a break finds the pin by it, and
// nobody gets another (poison.h). Until then the break's mark refuses pins.
Status track_again(Inode& inode, PageIndex index, Pfn pfn, bool lost) HF_REQUIRES(inode.lock) {
  const PageRange page{index, index + PageCount(1)};
  const auto inserted = inode.mapping.insert(index, pfn, kOrder4K, Deadline::never());
  if (!inserted) return Error(inserted.error());
  if (!lost) return mark_stores(inode, page, Deadline::never());
  static_cast<void>(inode.mapping.zap(page));
  return {};
}

}  // namespace

Status track_pinned(Inode& inode, const layout::Commit& commit, PageRange left) {
  const PageRange whole = commit.range();
  // What stays lies within a unit in front of what left, and within one behind it.
  const PageRange parts[] = {
      {whole.first, left.empty() ? whole.end : std::min(whole.end, left.first)},
      {left.empty() ? whole.end : std::max(whole.first, left.end), whole.end},
  };
  Status status;
  for (const PageRange& part : parts) {
    const PageIndex end = part.end == kEndOfFile ? part.first : part.end;
    for (PageIndex at = part.first; at < end;) {
      HF_ASSIGN(const Found found, locate(inode, at));
      const PageIndex stop = std::min(at + found.count, end);
      const bool has_block = found.kind != Found::Kind::hole;
      for (PageCount page; has_block && at + page < stop; page += PageCount(1)) {
        if (inode.core.pages().idle(found.pfn + page)) continue;
        Status tracked = track_again(inode, at + page, found.pfn + page, found.kind == Found::Kind::lost);
        if (!tracked && status) status = std::move(tracked);  // the others are pinned all the same
      }
      at = stop;
    }
  }
  return status;
}

// The counts that keep a page of the run may be its own or those of a unit around it, whose entry is gone.
void QuarantineMove::set_owner(const Run& run) {
  inode_.lock.assert_held();
  pagemap::PageMap& pages = inode_.core.pages();
  const pagemap::OwnerId owner = holding_->mapping.owner_id();
  for (const Extent& extent : run.extents) {
    const Pfn end = extent.pfn + extent.count;
    const auto index_of = [&](Pfn pfn) { return run.to + (extent.index - run.range.first) + (pfn - extent.pfn); };
    Pfn pfn = pages.first_referenced(extent.pfn, extent.count);
    for (; pfn < end; pfn = pages.first_referenced(pfn + PageCount(1), end - (pfn + PageCount(1)))) {
      pages.set_owner(pfn, kOrder4K, owner, index_of(pfn));
    }
    for (const Order order : {kOrder2M, kOrder1G}) {
      for (Pfn unit = extent.pfn.align_down(order); unit < end; unit += order.pages()) {
        if (pages.read(unit, order).refcount() == 0) continue;
        const bool whole = unit >= extent.pfn && unit + order.pages() <= end;
        if (!whole) inode_.shares_units = true;
        // A page that stays may have an entry of its own, and shares its owner with the unit that counts in it: this is
        // the file then, and whoever is told looks for both (look_at). Test:
        // Breaks.APageOfAUnitThatLeftInPartIsItsFiles.
        const Pfn counts_in = order == kOrder2M ? unit : unit + PageCount(1);
        if (counts_in < extent.pfn || counts_in >= end) continue;
        pages.set_owner(unit, order, owner, index_of(std::max(unit, extent.pfn)));
      }
    }
  }
}

}  // namespace holdfast::filesystem
