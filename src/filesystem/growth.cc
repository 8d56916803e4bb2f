#include "filesystem/growth.h"

#include <algorithm>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/lookup.h"
#include "filesystem/record.h"
#include "filesystem/removal.h"
#include "filesystem/windows.h"

namespace holdfast::filesystem {

Status reveal(Inode& inode, std::uint64_t end) {
  const std::uint64_t old_end = inode.attributes.size;
  if (end <= old_end || old_end == 0) return {};
  const PageIndex last = page_holding(old_end - 1);
  HF_TRY(zero_bytes(inode, old_end, std::min(end, (last + PageCount(1)).bytes())));
  // What may be mapped in one piece with the last page: stores past the end of the file may have reached it.
  const mapping::Entry entry = inode.mapping.lookup(last);
  const PageCount unit = std::max(entry.has_page() ? entry.order().pages() : PageCount(1), shown_unit(inode));
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

void grow_to(Inode& inode, std::uint64_t end) {
  if (end <= inode.attributes.size) return;
  const PageIndex old_end = page_after(inode.attributes.size);
  inode.attributes.size = end;
  inode.attributes_unrecorded = true;
  HF_MARK("growth.size");
  // release: partners are the loads of readers and pins.
  inode.size.store(end, std::memory_order_release);
  refresh_windows(inode, {old_end, page_after(end)});
}

}  // namespace holdfast::filesystem
