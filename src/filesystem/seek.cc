#include "filesystem/seek.h"

#include <algorithm>
#include <cerrno>

#include "filesystem/core.h"
#include "filesystem/lookup.h"
#include "filesystem/record.h"

namespace holdfast::filesystem {
namespace {

Result<std::uint64_t> next(Inode& inode, std::uint64_t offset, bool data) {
  HF_TRY(inode.core.usable());
  // acquire: partner is whoever changed the size.
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  if (offset >= size) return Error(ENXIO, inode.path_hint(), "past the end of the file");
  for (PageIndex page = page_holding(offset); page.bytes() < size;) {
    HF_ASSIGN(const Found found, locate_unlocked(inode, page));
    const bool has_data = found.kind == Found::Kind::written || found.kind == Found::Kind::lost;
    if (has_data == data) return std::max(offset, page.bytes());
    page += found.count;
  }
  if (data) return Error(ENXIO, inode.path_hint(), fmt::format("no data after byte {}", offset));
  return size;
}

// Pages that are contiguous in the file and on the device, whatever their state: units are cut from that.
struct Region {
  PageIndex index;
  Pfn pfn;
  PageCount count;

  // The part of it that consists of whole units.
  PageRange units(Order order) const {
    if ((pfn.raw() - index.raw()) % order.pages().raw() != 0) return {};
    return {index.align_up(order), (index + count).align_down(order)};
  }
};

std::uint64_t unit_max(const Region& region, const Extent& extent, const device::Geometry& carrier) {
  const PageRange pages{extent.index, extent.index + extent.count};
  for (const Order order : {kOrder1G, kOrder2M}) {
    if (carrier.unit_bytes() < order.pages().bytes()) continue;
    const PageRange units = region.units(order);
    if (!units.empty() && units.overlaps(pages)) return order.pages().bytes();
  }
  return kPageBytes;
}

bool continues(const Extent& extent, const Extent& after) {
  return extent.index + extent.count == after.index && extent.pfn + extent.count == after.pfn;
}

}  // namespace

Result<std::uint64_t> next_data(Inode& inode, std::uint64_t offset) { return next(inode, offset, true); }
Result<std::uint64_t> next_hole(Inode& inode, std::uint64_t offset) { return next(inode, offset, false); }

Result<std::vector<ExtentInfo>> extent_report(Inode& inode) {
  std::vector<Extent> extents;
  {
    const MutexLock lock(inode.lock);
    // The format's answer is complete once it has been told everything.
    HF_TRY(record_locked(inode));
    HF_TRY(inode.core.format().extents(inode.number, {PageIndex(0), kEndOfFile}, extents));
  }
  std::vector<Extent> joined;
  for (const Extent& extent : extents) {
    if (!joined.empty() && joined.back().unwritten == extent.unwritten && continues(joined.back(), extent)) {
      joined.back().count += extent.count;
    } else {
      joined.push_back(extent);
    }
  }
  std::vector<ExtentInfo> report;
  report.reserve(joined.size());
  for (std::size_t first = 0; first < joined.size();) {
    Region region{joined[first].index, joined[first].pfn, joined[first].count};
    std::size_t end = first + 1;
    for (; end < joined.size() && continues(joined[end - 1], joined[end]); ++end) region.count += joined[end].count;
    for (; first < end; ++first) {
      const Extent& extent = joined[first];
      report.push_back({extent.index.bytes(), extent.pfn.bytes(), extent.count.bytes(), extent.unwritten,
                        unit_max(region, extent, inode.core.device().geometry())});
    }
  }
  return report;
}

}  // namespace holdfast::filesystem
