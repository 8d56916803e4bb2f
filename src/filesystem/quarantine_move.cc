#include "filesystem/quarantine_move.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/mark.h"
#include "device/copy.h"
#include "filesystem/core.h"
#include "filesystem/lookup.h"
#include "filesystem/ordered.h"
#include "filesystem/quarantine.h"
#include "filesystem/record.h"
#include "filesystem/removal.h"
#include "filesystem/windows.h"
#include "filesystem/worker.h"

namespace holdfast::filesystem {
namespace {

// More runs than this are moved as one, with what lies between: it is freed right after.
constexpr std::size_t kRunsMax = 256;

// A step that can be taken back.
struct Move {
  InodeNumber from;
  PageRange range;
  InodeNumber to;
  PageIndex to_index;
};

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
  for (const Extent& extent : extents) {
    for (const layout::BusyPages& busy : commit_.busy(extent.index, extent.pfn, extent.count)) {
      const PageRange range = round_out({busy.index, busy.index + busy.count}, PageCount(cluster));
      if (!runs_.empty() && runs_.back().range.end >= range.first) {
        runs_.back().range.end = std::max(runs_.back().range.end, range.end);
      } else {
        runs_.push_back({range, {}, {}});
      }
    }
  }
  if (runs_.size() > kRunsMax) runs_ = {{{runs_.front().range.first, runs_.back().range.end}, {}, {}}};
  for (Run& run : runs_) {
    for (Extent extent : extents) {
      const PageIndex first = std::max(extent.index, run.range.first);
      const PageIndex end = std::min(extent.index + extent.count, run.range.end);
      if (first < end)
        run.extents.push_back({first, extent.pfn + (first - extent.index), end - first, extent.unwritten});
    }
  }
  return {};
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
  InodeRef fresh = core.inodes().insert_new(number, attributes);
  core.inodes().mark_orphan(*fresh);
  // Somebody else may have made one meanwhile: then this one, without blocks, goes again.
  core.quarantine().offer_holding(std::move(fresh));
  return {};
}

Result<std::unique_ptr<Handle>> QuarantineMove::move() {
  inode_.lock.assert_held();
  Core& core = inode_.core;
  Format& format = core.format();
  // What was written here is to be written there as well.
  HF_TRY(record_locked(inode_));
  const PageCount cluster = format.cluster();
  std::size_t extents = kExtentsAtATime + copies_.size() * (3 + cluster.raw());
  for (const Run& run : runs_) extents += run.extents.size() + 2;
  HF_TRY(get_holding());
  HF_ASSIGN(std::unique_ptr<Handle> handle,
            format.begin({.inodes = 3, .extents = static_cast<std::uint32_t>(4 * extents + 8)}));
  std::vector<std::vector<Extent>> fresh(copies_.size());
  for (std::size_t i = 0; i < copies_.size(); ++i) HF_TRY(copy(*handle, copies_[i], fresh[i]));
  // Copies are ready: from here on only extent blocks may be missing, and moves can be taken back.
  std::vector<Move> done;
  const auto step = [&](const Move& each) {
    if (HF_FAULT_POINT("quarantine.move")) return Status(Error(ENOSPC, inode_.path_hint(), "no block for its extents"));
    Status status = format.move(*handle, each.from, each.range, each.to, each.to_index);
    if (status) done.push_back(each);
    return status;
  };
  Status status;
  for (std::vector<Run>* const list : {&runs_, &copies_}) {
    for (Run& run : *list) {
      run.to = core.quarantine().next_index(run.range.count(), cluster);
      if (status) status = step({inode_.number, run.range, holding_->number, run.to});
    }
  }
  for (std::size_t i = 0; i < copies_.size() && status; ++i) {
    const PageIndex at = fresh[i].front().index;
    status = step({holding_->number, {at, at + cluster}, inode_.number, copies_[i].range.first});
  }
  if (!status) {
    for (auto each = done.rbegin(); each != done.rend(); ++each) {
      const PageRange back{each->to_index, each->to_index + each->range.count()};
      const Status undone = format.move(*handle, each->to, back, each->from, each->range.first);
      if (!undone) core.note_failure(undone.error());
    }
    return std::move(status).error();
  }
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    for (const Extent& each : fresh[i]) {
      const PageIndex index = copies_[i].range.first + (each.index - fresh[i].front().index);
      inode_.extents.add({index, each.pfn, each.count, each.unwritten});
    }
    forget_unrecorded(inode_, copies_[i].range);
  }
  HF_MARK("quarantine.moved");
  return handle;
}

// A block of its own for the part that stays, with the bytes that stay; it is made in the holding inode, so that a
// failure leaves it there to be freed. Pages that nobody has written, past the end of the file above all, stay
// unwritten.
Status QuarantineMove::copy(Handle& handle, const Run& run, std::vector<Extent>& fresh) {
  inode_.lock.assert_held();
  Core& core = inode_.core;
  Format& format = core.format();
  const PageCount cluster = format.cluster();
  const PageIndex index = core.quarantine().next_index(cluster, cluster);
  std::vector<Extent> added;
  HF_TRY(format.allocate(handle, holding_->number, {index, index + cluster}, Initial::unwritten, added));
  HF_CHECK(added.size() == 1 && added.front().count == cluster, "a cluster came in {} pieces", added.size());
  const Pfn first = added.front().pfn;
  // A window on a carrier of large pages shows what is unwritten, too.
  const bool shown_whole = shown_unit(inode_) > PageCount(1);
  for (PageCount page; page < cluster; page += PageCount(1)) {
    const PageIndex at = run.range.first + page;
    HF_ASSIGN(const Found found, locate(inode_, at));
    const bool unwritten = found.kind != Found::Kind::written;
    if (!unwritten) HF_TRY(copy_page(core.device().at(first + page), found.pfn, at));
    if (unwritten && shown_whole) HF_TRY(zero_device(inode_, first + page, 0, kPageBytes));
    if (!fresh.empty() && fresh.back().unwritten == unwritten) {
      fresh.back().count += PageCount(1);
    } else {
      fresh.push_back({index + page, first + page, PageCount(1), unwritten});
    }
  }
  for (const Extent& each : fresh) {
    if (each.unwritten) continue;
    HF_TRY(order_bytes(core.device(), each));
    HF_TRY(format.mark_written(handle, holding_->number, {each.index, each.index + each.count}));
  }
  return {};
}

// A page of the file, without the bytes that are to be zero.
Status QuarantineMove::copy_page(std::byte* to, Pfn from, PageIndex at) {
  device::CopyOutcome outcome = device::load(to, inode_.core.device().at(from), kPageBytes);
  for (const Bytes& edge : edges_) {
    const std::uint64_t begin = std::max(edge.first, at.bytes());
    const std::uint64_t end = std::min(edge.second, at.bytes() + kPageBytes);
    if (begin < end && outcome == device::CopyOutcome::done)
      outcome = device::zero(to + (begin - at.bytes()), end - begin);
  }
  if (outcome == device::CopyOutcome::done) return {};
  return Error(EIO, inode_.path_hint(), "device memory cannot be read");
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

Status track_pinned(Inode& inode, const layout::Commit& commit, PageRange left) {
  const PageRange whole = commit.range();
  // What stays lies within a unit in front of what left, and within one behind it.
  const PageRange parts[] = {
      {whole.first, left.empty() ? whole.end : std::min(whole.end, left.first)},
      {left.empty() ? whole.end : std::max(whole.first, left.end), whole.end},
  };
  for (const PageRange& part : parts) {
    const PageIndex end = part.end == kEndOfFile ? part.first : part.end;
    for (PageIndex at = part.first; at < end;) {
      HF_ASSIGN(const Found found, locate(inode, at));
      const PageIndex stop = std::min(at + found.count, end);
      const bool has_block = found.kind != Found::Kind::hole;
      for (PageCount page; has_block && at + page < stop; page += PageCount(1)) {
        if (inode.core.pages().idle(found.pfn + page)) continue;
        const auto inserted = inode.mapping.insert(at + page, found.pfn + page, kOrder4K, Deadline::never());
        if (!inserted) return Error(inserted.error());
      }
      at = stop;
    }
  }
  return {};
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
