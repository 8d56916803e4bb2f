// What is known of where a file's bytes live, so that reads, writes in place, faults and pins of known extents touch
// no metadata and no metadata lock.
//
// Neighbours that are contiguous on the device and alike in written state are one extent here, whatever the format's
// own extent boundaries. Known ranges and holes are remembered alike: a lookup says extent, hole or unknown.
//
// Writers (who hold the inode lock) publish a new immutable snapshot; readers are lock-free. A file that grows page by
// page into blocks allocated ahead moves only `tail_`, a run of pages that are written whatever the snapshot says.
//
// Invariant X1: what the cache says of a page is what the format says, unless the page lies in a closed gate, or is
// written here and waits to be recorded there (Inode::unrecorded).
// Locking: rank extent_cache, for changes only.
#pragma once

#include <optional>
#include <vector>

#include "base/atomic.h"
#include "base/mutex.h"
#include "base/units.h"
#include "device/poison.h"
#include "filesystem/format.h"

namespace holdfast::filesystem {

struct Found {
  // lost: there is a block, written or not, whose memory is lost. Nothing may be loaded from it, nor stored.
  enum class Kind : std::uint8_t { unknown, hole, unwritten, written, lost };
  Kind kind = Kind::unknown;
  Pfn pfn;          // of `index` asked for; only with a block
  PageCount count;  // pages from the index on that are alike (holes: until the next extent, or what is known)
};

class ExtentCache {
 public:
  // What is lost of the device is taken from `poison`, which outlives this; null: nothing ever is.
  explicit ExtentCache(const device::PoisonList* poison = nullptr);
  ~ExtentCache();
  ExtentCache(const ExtentCache&) = delete;
  ExtentCache& operator=(const ExtentCache&) = delete;

  // Lock-free. What it says stays true while the caller is inside a Hold of the page, or has the inode lock.
  Found find(PageIndex index) const;
  // All that the format knows of `range`: holes are what is missing. Fills what is unknown, changes nothing known.
  void learn(PageRange range, const std::vector<Extent>& extents);
  // Extents that came new, or whose written state changed.
  void add(const Extent& extent);
  void mark_written(PageRange range);
  // Blocks that left; known to be holes from now on.
  void remove(PageRange range);
  // Everything unknown again.
  void forget();
  // The whole known list, clipped to the range: where blocks are, lost ones too, which are called written or not as the
  // format does.
  std::vector<Extent> list(PageRange range) const;

 private:
  struct Snapshot;
  Found find_block(PageIndex index) const;
  void publish(PageRange range, const void* items, std::size_t count) HF_REQUIRES(lock_);
  void fold_tail() HF_REQUIRES(lock_);
  void set_written(PageRange range) HF_REQUIRES(lock_);

  const device::PoisonList* const poison_;
  Mutex lock_{LockRank::extent_cache};
  Atomic<Snapshot*> snapshot_;
  Atomic<std::uint64_t> tail_;  // first page << 32 | end; 0: none
};

}  // namespace holdfast::filesystem
