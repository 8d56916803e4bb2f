// The changes of a QuarantineMove: handles, steps, and how they are taken back.
#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/mark.h"
#include "device/copy.h"
#include "filesystem/core.h"
#include "filesystem/lookup.h"
#include "filesystem/ordered.h"
#include "filesystem/poison.h"
#include "filesystem/quarantine.h"
#include "filesystem/quarantine_move.h"
#include "filesystem/record.h"
#include "filesystem/removal.h"
#include "filesystem/windows.h"
#include "filesystem/worker.h"

namespace holdfast::filesystem {
namespace {

// Of one handle. Each step cuts a record in three and may split a leaf of either file; its own extents fill nodes.
constexpr std::size_t kStepsAHandle = 16;
constexpr std::size_t kExtentsAHandle = 512;
constexpr std::uint32_t kNodesAHandle = 5 * kStepsAHandle + kExtentsAHandle / 50;

}  // namespace

// Also for the first step of a removal.
Result<std::unique_ptr<Handle>> QuarantineMove::begin() {
  Format& format = inode_.core.format();
  const std::size_t extents = 2 * kExtentsAtATime + 4 * (kExtentsAHandle + format.cluster().raw());
  return format.begin({.inodes = 3, .extents = static_cast<std::uint32_t>(extents), .extent_nodes = kNodesAHandle});
}

Result<std::unique_ptr<Handle>> QuarantineMove::move(std::optional<std::uint64_t> new_size) {
  inode_.lock.assert_held();
  // What was written here is to be written there as well.
  HF_TRY(record_locked(inode_));
  HF_TRY(get_holding());
  std::vector<Step> steps;
  for (Run& run : runs_) steps.push_back({&run, false, {}});
  for (Run& run : copies_) steps.push_back({&run, true, {}});
  const PageCount cluster = inode_.core.format().cluster();
  const auto all = [&]() -> Result<std::unique_ptr<Handle>> {
    HF_ASSIGN(std::unique_ptr<Handle> handle, begin());
    std::size_t steps_here = 0;
    std::size_t extents_here = 0;
    for (const Step& step : steps) {
      const std::size_t extents = step.run->extents.size() + (step.copied ? 3 + cluster.raw() : 0);
      extents_here += extents;
      if (steps_here++ != 0 && (steps_here > kStepsAHandle || extents_here > kExtentsAHandle)) {
        if (new_size && !announced_) HF_TRY(announce(*handle, *new_size));
        handle->done();
        handle.reset();
        HF_MARK("quarantine.handle");
        HF_ASSIGN(handle, begin());
        steps_here = 1;
        extents_here = extents;
      }
      Status moved = step.copied ? replace(*handle, *step.run) : move_run(*handle, *step.run);
      if (!moved) {
        handle->done();  // the steps before are whole
        return std::move(moved).error();
      }
    }
    return handle;
  };
  Result<std::unique_ptr<Handle>> handle = all();
  if (!handle) {
    // What was copied stays in the holding inode until somebody looks.
    if (Status back = take_back(); !back) {
      inode_.extents.forget();
      inode_.core.note_failure(back.error());
    }
    return handle;
  }
  show_copies();
  HF_MARK("quarantine.moved");
  return handle;
}

// The size and the orphan list tell whoever comes after a crash to finish. An inode without names is on the list.
Status QuarantineMove::announce(Handle& handle, std::uint64_t new_size) {
  inode_.lock.assert_held();
  if (inode_.attributes.links == 0) return {};
  Attributes attributes = inode_.attributes;
  attributes.size = new_size;
  HF_TRY(inode_.core.format().write_inode(handle, inode_.number, attributes));
  HF_TRY(inode_.core.format().add_orphan(handle, inode_.number));
  announced_ = true;
  return {};
}

Status QuarantineMove::move_run(Handle& handle, Run& run) {
  Format& format = inode_.core.format();
  run.to = inode_.core.quarantine().next_index(run.range.count(), format.cluster());
  if (HF_FAULT_POINT("quarantine.move")) return Error(ENOSPC, inode_.path_hint(), "no block for its extents");
  HF_TRY(format.move(handle, inode_.number, run.range, holding_->number, run.to));
  done_.push_back({&run, false, {}});
  return {};
}

// The copy first: then only blocks for extents may be missing.
Status QuarantineMove::replace(Handle& handle, Run& run) {
  Format& format = inode_.core.format();
  std::vector<Extent> fresh;
  HF_TRY(copy(handle, run, fresh));
  const PageIndex at = fresh.front().index;
  HF_TRY(move_run(handle, run));
  done_.pop_back();
  Status arrived =
      HF_FAULT_POINT("quarantine.replace")
          ? Status(Error(ENOSPC, inode_.path_hint(), "no block for its extents"))
          : format.move(handle, holding_->number, {at, at + format.cluster()}, inode_.number, run.range.first);
  if (!arrived) {
    HF_TRY(move_back(handle, {&run, false, {}}));
    return arrived;
  }
  done_.push_back({&run, true, at});
  fresh_.push_back(std::move(fresh));
  return {};
}

Status QuarantineMove::move_back(Handle& handle, const Step& step) {
  Format& format = inode_.core.format();
  const PageRange range = step.run->range;
  if (step.copied) HF_TRY(format.move(handle, inode_.number, range, holding_->number, step.fresh));
  return format.move(handle, holding_->number, {step.run->to, step.run->to + range.count()}, inode_.number,
                     range.first);
}

// What fails here leaves its handle half done, which stops the format.
Status QuarantineMove::take_back() {
  inode_.lock.assert_held();
  Format& format = inode_.core.format();
  while (!done_.empty() || announced_) {
    HF_ASSIGN(const std::unique_ptr<Handle> handle, begin());
    std::size_t extents = 0;
    for (std::size_t step = 0; step < kStepsAHandle && extents < kExtentsAHandle && !done_.empty(); ++step) {
      extents += done_.back().run->extents.size();
      HF_TRY(move_back(*handle, done_.back()));
      done_.pop_back();
    }
    if (done_.empty() && announced_) {
      HF_TRY(format.write_inode(*handle, inode_.number, inode_.attributes));
      HF_TRY(format.remove_orphan(*handle, inode_.number));
      announced_ = false;
    }
    handle->done();
  }
  return {};
}

void QuarantineMove::show_copies() {
  inode_.lock.assert_held();
  if (!copies_.empty()) note_reach(inode_);
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    for (const Extent& each : fresh_[i]) {
      const PageIndex index = copies_[i].range.first + (each.index - fresh_[i].front().index);
      inode_.extents.add({index, each.pfn, each.count, each.unwritten});
    }
    forget_unrecorded(inode_, copies_[i].range);
  }
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
  HF_ASSIGN(const PageIndex end,
            format.allocate(handle, holding_->number, {index, index + cluster}, Initial::unwritten, added));
  HF_CHECK(end == index + cluster && added.size() == 1 && added.front().count == cluster, "a cluster came in {} pieces",
           added.size());
  const Pfn first = added.front().pfn;
  // A window on a carrier of large pages shows what is unwritten, too.
  const bool shown_whole = shown_unit(inode_) > PageCount(1);
  for (PageCount page; page < cluster; page += PageCount(1)) {
    const PageIndex at = run.range.first + page;
    HF_ASSIGN(const Found found, locate(inode_, at));
    if (found.kind == Found::Kind::lost) return memory_lost(inode_, at.bytes(), EIO);
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
  learn_of_lost_memory(inode_.core);
  return Error(EIO, inode_.path_hint(), "device memory cannot be read");
}

}  // namespace holdfast::filesystem
