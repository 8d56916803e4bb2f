#include "filesystem/pin_track.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/mark.h"
#include "filesystem/allocation.h"
#include "filesystem/core.h"
#include "filesystem/dirty.h"
#include "filesystem/lookup.h"
#include "filesystem/poison.h"
#include "filesystem/record.h"
#include "filesystem/removal.h"
#include "filesystem/unit_maker.h"
#include "mapping/hold.h"

namespace holdfast::filesystem {
namespace {

// Unwritten blocks are converted in whole units when a pin asks for so much of one: then it can be one entry.
constexpr std::uint64_t kWorthAUnit = 64;  // pages

Error past_the_end(const Inode& inode) {
  return Error(ENXIO, inode.path_hint(), "the range reaches past the end of the file");
}

// The part of the unit around `index` that lies inside the file.
PageRange unit_inside(PageIndex index, std::uint64_t size) {
  const PageIndex first = index.align_down(kOrder2M);
  return {first, std::min(first + kOrder2M.pages(), page_after(size))};
}

// Zeroes and converts what is unwritten of the range.
Status convert(Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  for (PageIndex at = range.first; at < range.end;) {
    HF_ASSIGN(const Found found, locate(inode, at));
    const PageIndex end = std::min(at + found.count, range.end);
    if (found.kind == Found::Kind::unwritten) {
      HF_MARK("pin.zeroes");
      HF_TRY(zero_device(inode, found.pfn, 0, (end - at).bytes()));
      mark_written(inode, {at, end});
    }
    at = end;
  }
  return record_if_many(inode);
}

// Blocks with contents for [range.first, somewhere within its unit). No hold, no lock. Returns where blocks came.
Result<PageRange> fill_once(Inode& inode, PageRange range, Access access) {
  const MutexLock lock(inode.lock);
  const std::uint64_t size = inode.attributes.size;
  if (range.first.bytes() >= size) return past_the_end(inode);
  const PageRange unit = unit_inside(range.first, size);
  PageRange part{range.first, std::min(range.end, unit.end)};
  // A carrier of huge pages shows whole ones or nothing: there a unit has all of its blocks, past the end too.
  const bool whole_only = inode.core.device().geometry().page_bytes > kPageBytes;
  if (whole_only || part.count().raw() >= std::min(kWorthAUnit, unit.count().raw())) part = unit;
  HF_ASSIGN(const Found found, locate(inode, range.first));
  if (found.kind == Found::Kind::lost) return memory_lost(inode, range.first.bytes(), EHWPOISON);
  PageRange came;
  if (found.kind == Found::Kind::hole) {
    if (access == Access::read) {
      return Error(ENXIO, inode.path_hint(), fmt::format("a hole at byte {}", range.first.bytes()),
                   "pin for writing, or allocate first");
    }
    HF_TRY(inode.core.writable());
    PageRange asked = part == unit ? unit : PageRange{range.first, std::min(range.end, unit.end)};
    if (whole_only) asked.end = unit.first + kOrder2M.pages();
    HF_ASSIGN(came, fill_holes(inode, asked, Ahead::no));
  }
  HF_TRY(convert(inode, part));
  return came;
}

Result<PageRange> fill(Inode& inode, PageRange range, Access access) {
  Result<PageRange> filled = fill_once(inode, range, access);
  if (filled || filled.error().code() != ENOSPC) return filled;
  make_space(inode.core);
  return fill_once(inode, range, access);
}

bool below_the_end(const Inode& inode, PageIndex index) {
  // acquire: partner is the store in grow_to and take_out.
  return index.bytes() < inode.size.load(std::memory_order_acquire);
}

enum class Step : std::uint8_t {
  went_on,
  blocks_missing,
  past_the_end,
  not_durable,  // what the file is there by now waits for a commit (Q1)
  again,
};

Result<Step> write_back_first(Inode& inode, PageIndex at) {
  HF_TRY(flush_marked(inode, {at, at + PageCount(1)}));
  return Step::again;
}

// Inserts entries from `at` on, within the 2 MiB around it. The extents around are known; the caller is inside a Hold
// of those 2 MiB.
Result<Step> insert_held(Inode& inode, PageIndex& at, PageIndex end, Deadline deadline) {
  using mapping::Mapping;
  const PageIndex unit = at.align_down(kOrder2M);
  const PageIndex unit_end = unit + kOrder2M.pages();
  const std::optional<Pfn> whole = whole_unit(inode, at, kOrder2M);
  if (whole && below_the_end(inode, at)) {
    if (!reaches_durably(inode)) return Step::not_durable;
    const Result<Mapping::InsertOutcome> inserted = inode.mapping.insert(unit, *whole, kOrder2M, deadline);
    if (!inserted && inserted.error().code() == EAGAIN) return Step::again;
    if (!inserted) return Error(inserted.error());
    if (*inserted == Mapping::InsertOutcome::dirty) return write_back_first(inode, unit);
    // `already_there` may be a page only: then the next attempt says where one is missing.
    if (*inserted == Mapping::InsertOutcome::inserted || inode.mapping.lookup(at).order() >= kOrder2M) {
      at = unit_end;
      return Step::went_on;
    }
  }
  for (; at < std::min(end, unit_end); at += PageCount(1)) {
    const Found found = inode.extents.find(at);
    if (!below_the_end(inode, at)) return Step::past_the_end;
    if (found.kind != Found::Kind::written) return Step::blocks_missing;
    if (!reaches_durably(inode)) return Step::not_durable;
    HF_MARK("pin.inserts");
    const Result<Mapping::InsertOutcome> inserted = inode.mapping.insert(at, found.pfn, kOrder4K, deadline);
    if (!inserted && inserted.error().code() == EAGAIN) return Step::again;
    if (!inserted) return Error(inserted.error());
    if (*inserted == Mapping::InsertOutcome::dirty) return write_back_first(inode, at);
  }
  // The last page of a unit that grew page by page.
  if (whole) static_cast<void>(inode.mapping.try_form_unit(unit, *whole, kOrder2M));
  return Step::went_on;
}

Result<Step> insert_some(Inode& inode, PageIndex& at, PageIndex end, Deadline deadline) {
  const PageIndex unit = at.align_down(kOrder2M);
  const auto hold = mapping::Hold::enter(inode.mapping, {unit, unit + kOrder2M.pages()}, deadline);
  if (!hold) {
    if (deadline.passed()) return Error(ETIMEDOUT, inode.path_hint(), "the range is being taken away");
    return Error(EINTR, inode.path_hint(), "a signal came");
  }
  HF_MARK("pin.held");
  return insert_held(inode, at, end, deadline);
}

// Under the inode's lock nothing changes, however many others write to the file, and no gate is closed.
Result<Step> insert_durably(Inode& inode, PageIndex& at, PageIndex end, Deadline deadline) {
  const MutexLock lock(inode.lock);
  HF_TRY(make_reach_durable_locked(inode));
  const PageIndex unit = at.align_down(kOrder2M);
  const auto hold = mapping::Hold::try_enter(inode.mapping, {unit, unit + kOrder2M.pages()});
  return hold ? insert_held(inode, at, end, deadline) : Result<Step>(Step::again);
}

// All blocks of the range, in one commit: then most of the range waits for no other.
Status fill_durably(Inode& inode, PageRange range, Access access, Units units) {
  for (PageIndex at = range.first; at < range.end;) {
    HF_ASSIGN(const Found found, locate_unlocked(inode, at));
    if (found.kind == Found::Kind::written) {
      at += found.count;
      continue;
    }
    HF_ASSIGN(const PageRange came, fill(inode, {at, range.end}, access));
    if (units == Units::make) make_units(inode, came);
  }
  return reaches_durably(inode) ? Status() : make_reach_durable(inode);
}

// A 1 GiB entry, where the carrier maps nothing smaller: else one pin would keep a whole GiB from being punched.
// False: smaller.
Result<bool> insert_gigabyte(Inode& inode, PageIndex at, Deadline deadline) {
  if (inode.core.device().geometry().page_bytes < kOrder1G.pages().bytes()) return false;
  const PageIndex first = at.align_down(kOrder1G);
  const PageRange unit{first, first + kOrder1G.pages()};
  if (unit.end.bytes() > inode.size.load(std::memory_order_acquire)) return false;
  const Found found = inode.extents.find(at);
  if (found.kind != Found::Kind::written || (found.pfn.raw() - at.raw()) % kOrder1G.pages().raw() != 0) return false;
  for (PageIndex page = unit.first; page < unit.end;) {
    HF_ASSIGN(const Found next, locate_unlocked(inode, page));
    if (next.kind != Found::Kind::written || next.pfn.raw() - page.raw() != found.pfn.raw() - at.raw()) return false;
    page += next.count;
  }
  const auto hold = mapping::Hold::try_enter(inode.mapping, unit);
  if (!hold) return false;
  const std::optional<Pfn> whole = whole_unit(inode, at, kOrder1G);
  if (!whole || !reaches_durably(inode)) return false;
  const Result<mapping::Mapping::InsertOutcome> inserted = inode.mapping.insert(first, *whole, kOrder1G, deadline);
  if (!inserted) return inserted.error().code() == EAGAIN ? Result<bool>(false) : Result<bool>(inserted.error());
  return *inserted == mapping::Mapping::InsertOutcome::inserted;
}

}  // namespace

std::optional<Pfn> whole_unit(const Inode& inode, PageIndex index, Order order) {
  const std::optional<Run> run = run_of(inode, index.align_down(order), order.pages());
  if (!run || !run->written || !run->pfn.is_aligned(order)) return std::nullopt;
  return run->pfn;
}

bool try_track_held(Inode& inode, PageRange range) {
  const Deadline now = Deadline::at(Nanoseconds(0));
  for (PageIndex at = range.first; at < range.end;) {
    const Result<Step> step = insert_held(inode, at, range.end, now);
    if (!step || *step != Step::went_on) return false;
  }
  return true;
}

namespace {

Status track_all(Inode& inode, PageRange range, Access access, Deadline deadline, Units units) {
  for (PageIndex at = range.first; at < range.end;) {
    HF_ASSIGN(const Found found, locate_unlocked(inode, at));
    if (found.kind != Found::Kind::written) {
      HF_ASSIGN(const PageRange came, fill(inode, {at, range.end}, access));
      if (units == Units::make) make_units(inode, came);
      continue;
    }
    HF_ASSIGN(const bool large, insert_gigabyte(inode, at, deadline));
    if (large) {
      at = at.align_down(kOrder1G) + kOrder1G.pages();
      continue;
    }
    HF_ASSIGN(Step step, insert_some(inode, at, range.end, deadline));
    if (step == Step::not_durable) {
      HF_ASSIGN(step, insert_durably(inode, at, range.end, deadline));
    }
    if (step == Step::past_the_end) return past_the_end(inode);
  }
  return {};
}

}  // namespace

Status track(Inode& inode, PageRange range, Access access, Deadline deadline, Units units) {
  const bool persistent = inode.core.stores_are_durable();
  if (persistent) HF_TRY(fill_durably(inode, range, access, units));
  HF_TRY(track_all(inode, range, access, deadline, units));
  return persistent && access == Access::write ? mark_stores(inode, range, deadline) : Status();
}

}  // namespace holdfast::filesystem
