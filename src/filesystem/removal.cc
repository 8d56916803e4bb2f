#include "filesystem/removal.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/fault_point.h"
#include "base/mark.h"
#include "base/trace.h"
#include "device/copy.h"
#include "filesystem/core.h"
#include "filesystem/dirty.h"
#include "filesystem/lookup.h"
#include "filesystem/ordered.h"
#include "filesystem/poison.h"
#include "filesystem/quarantine_move.h"
#include "filesystem/record.h"
#include "filesystem/times.h"
#include "filesystem/windows.h"

namespace holdfast::filesystem {
namespace {

struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool empty() const { return begin >= end; }
};

// A cut as pages and clusters.
struct Plan {
  PageRange whole;     // leaves the file: whole clusters
  ByteRange edges[2];  // stays, and is zeroed
};

Plan plan_of(Cut cut, PageCount cluster) {
  const std::uint64_t unit = cluster.bytes();
  Plan plan;
  plan.whole.first = PageIndex(round_up(cut.begin, unit) / kPageBytes);
  if (cut.to_the_end()) {
    plan.whole.end = kEndOfFile;
    plan.edges[0] = {cut.begin, plan.whole.first.bytes()};
    return plan;
  }
  plan.whole.end = PageIndex(round_down(cut.end, unit) / kPageBytes);
  if (plan.whole.empty()) {
    plan.whole.end = plan.whole.first;
    plan.edges[0] = {cut.begin, cut.end};
  } else {
    plan.edges[0] = {cut.begin, plan.whole.first.bytes()};
    plan.edges[1] = {plan.whole.end.bytes(), cut.end};
  }
  return plan;
}

}  // namespace

PageRange range_to_break(const Inode& inode, Cut cut, OnPinned on_pinned) {
  PageRange range{page_holding(cut.begin), cut.to_the_end() ? kEndOfFile : page_after(cut.end)};
  if (on_pinned == OnPinned::detach) {
    // A held cluster is replaced as a whole.
    const std::uint64_t cluster = inode.core.format().cluster().raw();
    range.first = PageIndex(round_down(range.first.raw(), cluster));
    if (range.end != kEndOfFile) range.end = PageIndex(round_up(range.end.raw(), cluster));
  }
  return range;
}

Status zero_device(const Inode& inode, Pfn pfn, std::uint64_t offset, std::uint64_t length) {
  if (!HF_FAULT_POINT("removal.zero") &&
      device::zero(inode.core.device().at(pfn) + offset, length) == device::CopyOutcome::done)
    return {};
  learn_of_lost_memory(inode.core);
  return Error(EIO, inode.path_hint(), fmt::format("the memory of page {:#x} cannot be written", pfn.raw()));
}

Status zero_bytes(Inode& inode, std::uint64_t begin, std::uint64_t end) {
  Status status;
  while (begin < end) {
    const PageIndex page = page_holding(begin);
    HF_ASSIGN(const Found found, locate(inode, page));
    const std::uint64_t stop = std::min(end, (page + found.count).bytes());
    if (found.kind == Found::Kind::written) {
      HF_TRY(zero_device(inode, found.pfn, begin - page.bytes(), stop - begin));
      HF_TRY(persist(inode.core.device(), found.pfn.bytes() + (begin - page.bytes()), stop - begin));
    }
    if (found.kind == Found::Kind::lost && status) status = memory_lost(inode, begin, EIO);
    begin = stop;
  }
  return status;
}

Status remove_in_steps(Inode& inode, PageRange range, Shrinking shrinking) {
  if (range.empty() && !shrinking.shrinks) {
    if (shrinking.handle) shrinking.handle->done();
    return {};
  }
  Format& format = inode.core.format();
  bool on_orphan_list = inode.attributes.links == 0 || shrinking.listed;
  bool added_to_list = shrinking.listed;
  std::unique_ptr<Handle> handle = std::move(shrinking.handle);
  for (bool first = true; first || !range.empty(); first = false) {
    if (!handle) {
      HF_ASSIGN(handle, format.begin({.inodes = 3, .extents = 2 * kExtentsAtATime}));
    }
    if (HF_FAULT_POINT("removal.step")) return Error(EIO, inode.path_hint(), "made to fail");
    // What may still find no space comes first.
    if (first && !shrinking.past_the_end.empty()) {
      HF_TRY(format.mark_unwritten(*handle, inode.number, shrinking.past_the_end));
    }
    PageIndex done = range.first;
    if (!range.empty()) {
      HF_ASSIGN(done, format.remove(*handle, inode.number, range, kExtentsAtATime));
    }
    range.end = done;
    if (shrinking.shrinks && first) {
      HF_TRY(format.write_inode(*handle, inode.number, inode.attributes));
      if (!range.empty() && !on_orphan_list) {
        HF_TRY(format.add_orphan(*handle, inode.number));
        on_orphan_list = added_to_list = true;
      }
    }
    if (range.empty() && added_to_list) HF_TRY(format.remove_orphan(*handle, inode.number));
    HF_MARK("removal.step");
    handle->done();
    handle.reset();
  }
  return {};
}

namespace {

// Whole pages that stay (of a cluster) and parts of pages; those that are held were replaced by copies before. And, as
// large pages show it, what lies past the end of the file.
Status zero_what_stays(Inode& inode, const Plan& plan, const std::vector<Extent>& past_the_end)
    HF_REQUIRES(inode.lock) {
  if (shown_unit(inode) > PageCount(1)) {
    for (const Extent& stays : past_the_end) HF_TRY(zero_device(inode, stays.pfn, 0, stays.count.bytes()));
  }
  Status status;
  for (const ByteRange& edge : plan.edges) {
    Status zeroed = edge.empty() ? Status() : zero_bytes(inode, edge.begin, edge.end);
    if (!zeroed && status) status = std::move(zeroed);
  }
  return status;
}

// The blocks are out of the file, or some of them: its entries go.
Status let_go(Inode& inode, layout::Commit& commit, QuarantineMove& detached, PageRange left, OnPinned on_pinned)
    HF_REQUIRES(inode.lock) {
  commit.remove_entries();
  detached.hand_over();
  return on_pinned == OnPinned::detach ? track_pinned(inode, commit, left) : Status();
}

// No window shows anything of plan.whole.
Status take_plan_out(Inode& inode, layout::Commit& commit, const Plan& plan, OnPinned on_pinned,
                     std::optional<std::uint64_t> new_size) HF_REQUIRES(inode.lock) {
  HF_TRY(flush_beside(inode, commit.range(), plan.whole));
  // W3: writers that filled blocks of the file before look again. Partner: the loads in write.cc.
  inode.removals.fetch_add(1, std::memory_order_release);

  QuarantineMove detached(inode, commit);
  std::unique_ptr<Handle> moved;  // the file loses its pinned blocks and gets its new size in one handle
  if (on_pinned == OnPinned::detach) {
    HF_TRY(detached.find(plan.whole, {{{plan.edges[0].begin, plan.edges[0].end},  //
                                       {plan.edges[1].begin, plan.edges[1].end}}}));
    if (!detached.empty()) {
      HF_ASSIGN(moved, detached.move(new_size));
    }
  }

  const std::uint64_t old_size = inode.attributes.size;
  const std::vector<PageRange> unrecorded = inode.unrecorded;
  forget_unrecorded(inode, plan.whole);
  note_change(inode);
  if (new_size) inode.attributes.size = *new_size;
  inode.attributes_unrecorded = true;
  // What stays of the last cluster. Its entries go with this break, so whoever pins it later has it written again.
  const PageRange past_the_end =
      new_size ? PageRange{page_after(*new_size), std::max(page_after(*new_size), plan.whole.first)} : PageRange{};
  forget_unrecorded(inode, past_the_end);
  Shrinking shrinking{new_size.has_value(), past_the_end, std::move(moved), detached.announced()};
  if (Status removed = remove_in_steps(inode, plan.whole, std::move(shrinking)); !removed) {
    inode.attributes.size = old_size;
    inode.unrecorded = unrecorded;
    inode.extents.forget();
    // What is pinned has left the file all the same.
    if (!detached.empty()) static_cast<void>(let_go(inode, commit, detached, plan.whole, on_pinned));
    return removed;
  }
  HF_MARK("removal.blocks_are_out");
  inode.extents.remove(plan.whole);
  const std::vector<Extent> staying = inode.extents.list(past_the_end);
  for (Extent stays : staying) {
    stays.unwritten = true;
    inode.extents.add(stays);
  }
  if (new_size) {
    inode.attributes_unrecorded = false;
    inode.ahead_end = PageIndex(0);
    // release: partner are the loads of readers and pins.
    inode.size.store(*new_size, std::memory_order_release);
  }
  // The blocks are gone: memory that cannot be zeroed is said, but leaves nothing of this undone.
  Status zeroed = zero_what_stays(inode, plan, staying);
  HF_TRY(let_go(inode, commit, detached, plan.whole, on_pinned));
  return zeroed;
}

}  // namespace

Status take_out(Inode& inode, layout::Commit& commit, Cut cut, OnPinned on_pinned,
                std::optional<std::uint64_t> new_size) {
  const Plan plan = plan_of(cut, std::max(inode.core.format().cluster(), shown_unit(inode)));
  // Before anything has moved: a window that cannot let go has changed nothing.
  HF_TRY(leave_windows(inode, plan.whole));
  Status taken = take_plan_out(inode, commit, plan, on_pinned, new_size);
  // Also after a failure: what is still the file's is shown again, and nothing else.
  refresh_windows(inode, new_size ? PageRange{commit.range().first, kEndOfFile} : commit.range());
  HF_TRACE3(take_out, raw(inode.number), cut.begin, cut.end);
  return taken;
}

}  // namespace holdfast::filesystem
