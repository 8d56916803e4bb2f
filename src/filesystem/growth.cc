#include "filesystem/growth.h"

#include <algorithm>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/lookup.h"
#include "filesystem/ordered.h"
#include "filesystem/record.h"
#include "filesystem/removal.h"
#include "filesystem/windows.h"
#include "mapping/hold.h"

namespace holdfast::filesystem {
namespace {

// What of the file around `index` may be mapped or pinned in one piece, the blocks behind the file's end with it. Not
// only what is: an entry may come until the new size is known (see run_of), and stores past the end may have reached
// the pages of one that was. A unit of a GiB ends within the file (pin_track.cc).
// Tests: GrowthRace.AUnitComesBetweenTheLookAndTheNewSize, GrowthRace.AUnitIsLookedAtWithAnOldSize.
Result<PageCount> unit_of(Inode& inode, PageIndex index) HF_REQUIRES(inode.lock) {
  HF_ASSIGN(const Found found, locate(inode, index));
  const bool can_be_a_unit = found.kind != Found::Kind::hole &&
                             found.pfn.raw() % kOrder2M.pages().raw() == index.raw() % kOrder2M.pages().raw();
  return std::max(can_be_a_unit ? kOrder2M.pages() : PageCount(1), shown_unit(inode));
}

// Whether an entry, or somebody who may be about to insert one, reaches what lies behind the old end.
bool grows_into_entries(Inode& inode, std::uint64_t old_size) HF_REQUIRES(inode.lock) {
  if (old_size == 0) return false;
  const PageIndex last = page_holding(old_size - 1);
  const Result<PageCount> unit = unit_of(inode, last);
  if (unit && *unit == PageCount(1) && old_size % kPageBytes == 0) return false;
  const PageRange range = round_out({last, last + PageCount(1)}, unit ? *unit : kOrder2M.pages());
  HF_MARK("growth.looks_for_entries");
  // Holds before entries: who inserts does so inside of one. seq_cst: see reach.h.
  return mapping::HoldTables::any(inode.mapping, range) || inode.mapping.first_tracking(range).has_value();
}

}  // namespace

Status reveal(Inode& inode, std::uint64_t end) {
  const std::uint64_t old_end = inode.attributes.size;
  if (end <= old_end || old_end == 0) return {};
  const PageIndex last = page_holding(old_end - 1);
  HF_TRY(zero_bytes(inode, old_end, std::min(end, (last + PageCount(1)).bytes())));
  // These zeros are durable before a commit that says the new size is. Test: Ordered.AFileGrowsOverZeros.
  HF_ASSIGN(const Found zeroed, locate(inode, last));
  if (zeroed.kind == Found::Kind::written && old_end % kPageBytes != 0) {
    HF_TRY(order_bytes(inode.core.device(), {last, zeroed.pfn, PageCount(1), false}));
  }
  HF_ASSIGN(const PageCount unit, unit_of(inode, last));
  const PageIndex unit_end(round_up(last.raw() + 1, unit.raw()));
  PageIndex at = last + PageCount(1);
  for (const PageIndex stop = std::min(unit_end, page_after(end)); at < stop;) {
    HF_ASSIGN(const Found found, locate(inode, at));
    const PageCount count(std::min(found.count.raw(), (stop - at).raw()));
    if (found.kind == Found::Kind::unwritten) {
      HF_TRY(zero_device(inode, found.pfn, 0, count.bytes()));
      mark_written(inode, {at, at + count});
    }
    at += count;
  }
  return {};
}

Status grow_to(Inode& inode, std::uint64_t end) {
  const std::uint64_t old_size = inode.attributes.size;
  if (end <= old_size) return {};
  const PageIndex old_end = page_after(old_size);
  note_reach(inode);
  const bool durably = inode.core.stores_are_durable() && grows_into_entries(inode, old_size);
  inode.attributes.size = end;
  inode.attributes_unrecorded = true;
  if (durably) {
    if (Status committed = make_reach_durable_locked(inode); !committed) {
      inode.attributes.size = old_size;
      return committed;
    }
  }
  HF_MARK("growth.size");
  // release: partners are the loads of readers and pins.
  inode.size.store(end, std::memory_order_release);
  refresh_windows(inode, {old_end, page_after(end)});
  // A large page that is shown whole shows the new bytes at once, and has neither entries nor marks for them: the next
  // touch brings both.
  if (durably && shown_unit(inode) > PageCount(1)) {
    inode.windows->all().remove_translations(out_to_shown_units(inode, {old_end, page_after(end)}));
  }
  return {};
}

}  // namespace holdfast::filesystem
