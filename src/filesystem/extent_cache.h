// What is known of where a file's bytes live, so that reads, writes in place, faults and pins of known extents touch
// no metadata and no metadata lock.
//
// Neighbours that are contiguous on the device and alike in written state are one extent here, whatever the format's
// own extent boundaries. Known ranges and holes are remembered alike: a lookup says extent, hole or unknown.
//
// Writers (who hold the inode lock) publish a new immutable snapshot or change small ones in place under `lock_`;
// readers are lock-free inside an epoch.
//
// Invariant X1: what the cache says of a page is what the format says, unless the page lies in a closed gate.
// Locking: rank extent_cache, for changes only.
#pragma once

#include <optional>
#include <vector>

#include "base/atomic.h"
#include "base/mutex.h"
#include "base/units.h"
#include "filesystem/format.h"

namespace holdfast::filesystem {

struct Found {
  enum class Kind : std::uint8_t { unknown, hole, unwritten, written };
  Kind kind = Kind::unknown;
  Pfn pfn;           // of `index` asked for; only with a block
  PageCount count;   // pages from the index on that are alike (holes: until the next extent, or what is known)
};

class ExtentCache {
 public:
  ExtentCache();
  ~ExtentCache();
  ExtentCache(const ExtentCache&) = delete;
  ExtentCache& operator=(const ExtentCache&) = delete;

  // Lock-free; the caller is inside an epoch or a Hold of the page.
  Found find(PageIndex index) const;
  // All that the format knows of `range`: holes are what is missing.
  void learn(PageRange range, const std::vector<Extent>& extents);
  // Extents that came new, or whose written state changed.
  void add(const Extent& extent);
  void mark_written(PageRange range);
  // Blocks that left; known to be holes from now on.
  void remove(PageRange range);
  // Everything unknown again.
  void forget();
  // The whole known list, for reports. Clipped to the range.
  std::vector<Extent> list(PageRange range) const;

 private:
  struct Snapshot;
  Mutex lock_{LockRank::extent_cache};
  Atomic<Snapshot*> snapshot_;
};

}  // namespace holdfast::filesystem
