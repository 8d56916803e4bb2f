#include "support/invariants.h"

#include <algorithm>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "filesystem/format.h"
#include "filesystem/inode.h"

namespace holdfast::test {

using filesystem::Core;
using filesystem::Extent;
using filesystem::Inode;
using pagemap::CountWord;

namespace {

class Checker {
 public:
  explicit Checker(Core& core) : core_(core) {}

  std::string run() {
    core_.inodes().for_each([this](Inode& inode) { check_inode(inode); });
    check_device();
    return broken_;
  }

 private:
  void say(std::string what) {
    if (broken_.empty()) broken_ = std::move(what);
  }

  // S7, S9, S10, S11, S29 by way of M1 to M5 and X1 to X4; then that what is tracked is the file's block.
  void check_inode(Inode& inode) {
    const MutexLock lock(inode.lock);
    if (const std::optional<std::string> broken = inode.mapping.check()) {
      return say(fmt::format("inode {}: {}", filesystem::raw(inode.number), *broken));
    }
    std::vector<Extent> extents;
    if (!core_.format().extents(inode.number, {PageIndex(0), kEndOfFile}, extents)) return;
    std::uint64_t tracked = 0;
    for (const Extent& extent : extents) {
      for (PageCount at; at < extent.count; at += PageCount(1)) {
        const PageIndex index = extent.index + at;
        const mapping::Entry entry = inode.mapping.lookup(index);
        if (!entry.tracks()) continue;
        ++tracked;
        const Pfn names = entry.pfn() + (index - index.align_down(entry.order()));
        if (names != extent.pfn + at) {
          return say(fmt::format("S10: page {} of inode {} is block {:#x}, its entry names {:#x}", index.raw(),
                                 filesystem::raw(inode.number), (extent.pfn + at).raw(), names.raw()));
        }
      }
    }
    if (tracked != inode.mapping.tracked_pages().raw()) {
      say(fmt::format("S10: inode {} tracks {} pages, {} of them its blocks", filesystem::raw(inode.number),
                      inode.mapping.tracked_pages().raw(), tracked));
    }
  }

  // S1 (a free block has no reference), S4 by way of P3 (the device is held once for each unit in use).
  void check_device() {
    const pagemap::PageMap& pages = core_.pages();
    std::uint64_t units = 0;
    for (Pfn at(0); at < Pfn(pages.pages().raw()); at += PageCount(1)) {
      units += in_use(at, kOrder4K) + (at.is_aligned(kOrder2M) ? in_use(at, kOrder2M) : 0) +
               (at.is_aligned(kOrder1G) ? in_use(at, kOrder1G) : 0);
      if (pages.refcount(at) == 0) continue;
      const Result<bool> free = core_.format().block_free(at);
      if (free && *free)
        say(fmt::format("S1: block {:#x} is free and has {} references", at.raw(), pages.refcount(at)));
    }
    if (units != pages.references()) {
      say(fmt::format("S4: {} units are in use, and the device is held for {}", units, pages.references()));
    }
  }

  std::uint64_t in_use(Pfn first, Order order) const {
    return core_.pages().read(first, order).refcount() != 0 ? 1 : 0;
  }

  Core& core_;
  std::string broken_;
};

}  // namespace

std::string broken_invariant(Core& core) {
  if (!core.is_usable()) return "";
  return Checker(core).run();
}

}  // namespace holdfast::test
