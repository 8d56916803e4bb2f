#include "filesystem/lookup.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/check.h"
#include "filesystem/core.h"

namespace holdfast::filesystem {
namespace {

// What is learnt at a time: 128 MiB, 32,768 extents at worst.
constexpr std::uint64_t kWindowPages = 1U << 15;

}  // namespace

Result<Found> locate(Inode& inode, PageIndex index) {
  Found found = inode.extents.find(index);
  if (__builtin_expect(found.kind != Found::Kind::unknown, 1)) return found;
  const PageIndex first(round_down(index.raw(), kWindowPages));
  const PageRange window{first, first + PageCount(kWindowPages)};
  std::vector<Extent> extents;
  HF_TRY(inode.core.format().extents(inode.number, window, extents));
  const std::uint64_t device_pages = inode.core.pages().pages().raw();
  for (const Extent& extent : extents) {
    if (extent.pfn.raw() + extent.count.raw() > device_pages || extent.index < window.first ||
        extent.index + extent.count > window.end) {
      return Error(EUCLEAN, inode.path_hint(),
                   fmt::format("an extent lies outside of the device, at {:#x}", extent.pfn.raw()), "run e2fsck -f");
    }
  }
  inode.extents.learn(window, extents);
  // The format has not been told of these yet. Test: Unrecorded.BytesAreStillThereAfterARemovalThatFailed.
  for (const PageRange& note : inode.unrecorded) {
    const PageRange here{std::max(note.first, window.first), std::min(note.end, window.end)};
    if (!here.empty()) inode.extents.mark_written(here);
  }
  found = inode.extents.find(index);
  HF_CHECK(found.kind != Found::Kind::unknown, "X1: page {} of inode {} is unknown after learning", index.raw(),
           raw(inode.number));
  return found;
}

Result<Found> locate_unlocked(Inode& inode, PageIndex index) {
  const Found found = inode.extents.find(index);
  if (found.kind != Found::Kind::unknown) return found;
  const MutexLock lock(inode.lock);
  return locate(inode, index);
}

}  // namespace holdfast::filesystem
