#include "filesystem/unit_report.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "filesystem/lookup.h"
#include "filesystem/unit_maker.h"
#include "filesystem/windows.h"

namespace holdfast::filesystem {
namespace {

constexpr PageCount kUnit = kOrder2M.pages();

// The blocks of one unit of a file, gathered in order.
class UnitBlocks {
 public:
  explicit UnitBlocks(PageIndex first) : first_(first) {}

  PageIndex first() const { return first_; }
  PageIndex end() const { return first_ + kUnit; }
  std::uint64_t bytes() const { return count_.bytes(); }
  bool whole() const { return count_ == kUnit; }
  bool in_one_piece() const { return in_one_piece_; }
  Pfn pfn() const { return pfn_; }

  void add(Pfn pfn, PageCount count) {
    if (count_ == PageCount(0)) pfn_ = pfn;
    if (pfn != pfn_ + count_) in_one_piece_ = false;
    count_ += count;
  }

 private:
  const PageIndex first_;
  Pfn pfn_;
  PageCount count_;
  bool in_one_piece_ = true;
};

// Whether the carrier maps the unit, which begins one of the device, by one entry.
bool is_mapped_whole(Inode& inode, const UnitBlocks& unit) HF_REQUIRES(inode.lock) {
  const device::Device& device = inode.core.device();
  if (device.geometry().page_bytes <= kUnit.bytes()) return device.is_unit(unit.pfn());
  const PageCount page(device.geometry().page_bytes / kPageBytes);
  const PageRange around = round_out({unit.first(), unit.end()}, page);
  for (PageIndex at = around.first; at < around.end;) {
    const Result<Found> found = locate(inode, at);
    if (!found) return false;
    at += found->count;
  }
  const std::optional<Run> run = run_of(inode, around.first, page);
  return run && run->pfn.raw() % page.raw() == 0;
}

// Adds the blocks to what they can be mapped in, or to the reason why they cannot.
void add_unit(Inode& inode, const UnitBlocks& unit, UnitReport& report) HF_REQUIRES(inode.lock) {
  if (unit.end().bytes() > inode.attributes.size) {
    report.file_end += unit.bytes();
  } else if (!unit.whole()) {
    report.holes += unit.bytes();
  } else if (!unit.in_one_piece()) {
    report.scattered += unit.bytes();
  } else if (!unit.pfn().is_aligned(kOrder2M)) {
    report.not_congruent += unit.bytes();
  } else if (!is_mapped_whole(inode, unit)) {
    report.carrier += unit.bytes();
  } else if (inode.core.device().geometry().page_bytes == GiB) {
    report.in_1g += unit.bytes();
  } else {
    report.in_2m += unit.bytes();
  }
}

// The same of a unit whose extents are known.
void add_known_unit(Inode& inode, PageIndex first, UnitReport& report) HF_REQUIRES(inode.lock) {
  UnitBlocks unit(first);
  for (PageIndex at = first; at < unit.end();) {
    const Found found = inode.extents.find(at);
    const PageCount count = std::min(found.count, unit.end() - at);
    if (found.kind == Found::Kind::unknown) break;
    if (found.kind != Found::Kind::hole) unit.add(found.pfn, count);
    at += count;
  }
  add_unit(inode, unit, report);
}

// The windows of one file.
void add_windows(Inode& inode, UnitReport& report) HF_REQUIRES(inode.lock) {
  using ShownUnit = window::FileWindows::ShownUnit;
  if (inode.windows == nullptr) return;
  std::vector<PageIndex> of_blocks;  // looked at when the windows' lock is free
  inode.windows->all().each_unit([&](PageIndex first, std::uint64_t bytes, ShownUnit shown) {
    switch (shown) {
      case ShownUnit::edge:
        report.window_edge += bytes;
        break;
      case ShownUnit::untouched:
        report.untouched += bytes;
        break;
      case ShownUnit::small_entries:
        report.small_entries += bytes;
        break;
      case ShownUnit::of_blocks:
        of_blocks.push_back(first);
        break;
    }
  });
  for (const PageIndex first : of_blocks) add_known_unit(inode, first, report);
}

}  // namespace

Result<UnitReport> unit_report(Inode& inode) {
  const MutexLock lock(inode.lock);
  std::vector<Extent> extents;
  HF_TRY(inode.core.format().extents(inode.number, {PageIndex(0), kEndOfFile}, extents));
  UnitReport report;
  std::optional<UnitBlocks> unit;
  for (const Extent& extent : extents) {
    const PageIndex end = extent.index + extent.count;
    for (PageIndex at = extent.index; at < end;) {
      if (!unit || at >= unit->end()) {
        if (unit) add_unit(inode, *unit, report);
        unit.emplace(at.align_down(kOrder2M));
      }
      const PageIndex stop = std::min(end, unit->end());
      unit->add(extent.pfn + (at - extent.index), stop - at);
      at = stop;
    }
  }
  if (unit) add_unit(inode, *unit, report);
  return report;
}

UnitStatistics unit_statistics(Core& core) {
  UnitStatistics statistics;
  statistics.attempts = core.units().attempts();
  core.inodes().for_each([&statistics](Inode& inode) {
    const MutexLock lock(inode.lock);
    add_windows(inode, statistics.windows);
  });
  return statistics;
}

}  // namespace holdfast::filesystem
