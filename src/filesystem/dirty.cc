#include "filesystem/dirty.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/windows.h"

namespace holdfast::filesystem {
namespace {

Status write_back(Inode& inode, PageRange range) {
  device::Device& device = inode.core.device();
  return inode.mapping.write_back(
      range,
      [&device](PageIndex /*index*/, Pfn pfn, PageCount count) { return device.flush(pfn.bytes(), count.bytes()); },
      Deadline::never());
}

}  // namespace

Status mark_stores(Inode& inode, PageRange range, Deadline deadline) {
  if (!inode.core.stores_are_durable()) return {};
  for (PageIndex at = range.first; at < range.end;) {
    const mapping::Entry entry = inode.mapping.lookup(at);
    if (entry.tracks() && entry.clean()) {
      const Result<mapping::EntryLock> marked = inode.mapping.mark_dirty(at, deadline);
      if (!marked && marked.error().code() != EAGAIN) return Error(marked.error());
    }
    at = entry.has_page() ? at.align_down(entry.order()) + entry.order().pages() : at + PageCount(1);
  }
  return {};
}

void note_unmarked_stores(Inode& inode) {
  if (!inode.core.stores_are_durable()) return;
  const MutexLock lock(inode.lock);
  inode.unmarked_stores = true;
  ++inode.unmarked_noted;
}

Status flush_written(Inode& inode, PageRange range) {
  std::vector<Extent> extents;
  const PageRange file{PageIndex(0), page_after(inode.size.load(std::memory_order_acquire))};
  const PageRange inside = clip(range, file);
  if (inside.empty()) return {};
  HF_TRY(inode.core.format().extents(inode.number, inside, extents));
  for (const Extent& extent : extents) {
    if (!extent.unwritten) HF_TRY(inode.core.device().flush(extent.pfn.bytes(), extent.count.bytes()));
  }
  return {};
}

Status flush_marked(Inode& inode, PageRange range) {
  if (!inode.core.stores_are_durable()) return {};
  HF_TRY(write_back(inode, range));
  return inode.core.device().fence();
}

Status flush_stores(Inode& inode, PageRange range) {
  bool all = false;
  bool unseen = false;  // goes on being so
  std::uint32_t noted = 0;
  {
    const MutexLock lock(inode.lock);
    all = inode.unmarked_stores;
    unseen = inode.windows != nullptr && inode.windows->all().stores_unseen();
    noted = inode.unmarked_noted;
  }
  if (all) {
    HF_TRY(flush_written(inode, range));
    const MutexLock lock(inode.lock);
    // Not before: who syncs beside this one must not take them for flushed.
    if (range == kWholeFile && noted == inode.unmarked_noted) inode.unmarked_stores = unseen;
  }
  return write_back(inode, range);
}

Status flush_beside(Inode& inode, PageRange broken, PageRange leaving) {
  if (!inode.core.stores_are_durable() || broken.empty()) return {};
  if (leaving.empty()) return flush_marked(inode, broken);
  HF_TRY(flush_marked(inode, {broken.first, std::max(leaving.first, broken.first + PageCount(1))}));
  if (broken.end == kEndOfFile) return {};
  return flush_marked(inode, {std::min(leaving.end, broken.end - PageCount(1)), broken.end});
}

}  // namespace holdfast::filesystem
