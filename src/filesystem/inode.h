// An inode in memory.
//
// States: live (has names) -> orphan (links 0, handles or pins keep it; on the format's orphan list) -> evicting (no
// handle; its blocks are freed as their pins go) -> gone. A live inode without handles stays cached.
//
// References: handles (open files, path walks in progress) are counted; the table's own pointer is not. A pin holds
// no reference: its pages hold the device, and eviction finds them by their counts.
//
// Locking: `lock` (rank inode) guards attributes and every change of the extent map. `size` may be read without it:
// it is stored under the lock (release) and loaded with acquire by read paths, so that whoever sees the new size sees
// the extents that were published before it.
//
// Invariants
//   W1  a page in `unrecorded` is written here and unwritten in the format; it is in no hole.
//   W2  blocks wholly past the end of the file are unwritten.
//   W3  `removals` grows with every step that takes blocks out of the file, before those blocks can be given to anyone.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic.h"
#include "base/mutex.h"
#include "filesystem/extent_cache.h"
#include "filesystem/format.h"
#include "filesystem/reach.h"
#include "filesystem/release_hook.h"
#include "mapping/mapping.h"

namespace holdfast::filesystem {

class Core;
class InodeWindows;

// Pages of a file are numbered with 32 bits, and the last number is not used.
inline constexpr std::uint64_t kFileBytesMax = ((std::uint64_t{1} << 32) - 1) * kPageBytes;
inline constexpr PageRange kWholeFile{PageIndex(0), kEndOfFile};

class Inode {
 public:
  Inode(Core& core, InodeNumber number, const Attributes& attributes);
  ~Inode();
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  Core& core;
  const InodeNumber number;
  const FileType type;
  Mutex lock{LockRank::inode};
  Attributes attributes HF_GUARDED_BY(lock);  // size and times as of the last change under the lock
  Atomic<std::uint64_t> size;                 // mirror of attributes.size
  // Times touched by reads and writes in place, which take no lock: folded into attributes at the next change,
  // sync or release. 0: nothing new. Nanoseconds since 1970.
  Atomic<std::int64_t> modified_lazily;
  Atomic<std::int64_t> accessed_lazily;
  Atomic<bool> access_due;  // the next read notes the access time (relatime)
  ExtentCache extents;
  Reach reach;

  // What the format has not been told yet; see record.h.
  std::vector<PageRange> unrecorded HF_GUARDED_BY(lock);  // sorted, disjoint, none adjacent
  bool attributes_unrecorded HF_GUARDED_BY(lock) = false;
  // Bytes may wait in caches of which no entry's mark tells (dirty.h).
  bool unmarked_stores HF_GUARDED_BY(lock) = false;
  std::uint32_t unmarked_noted HF_GUARDED_BY(lock) = 0;  // how often that was said
  // Blocks from the end of the file to here were allocated ahead for appends (allocation.h). 0: none.
  PageIndex ahead_end HF_GUARDED_BY(lock);
  // A long append owns the end of the file until it is done; who else appends waits on the address.
  bool appending HF_GUARDED_BY(lock) = false;
  Atomic<std::uint64_t> removals;  // W3
  std::atomic<std::uint32_t> open_files{0};
  // Whether some of its units went to the holding inode in part; guarded by `lock`.
  bool shares_units HF_GUARDED_BY(lock) = false;

  // Made by the first map. Before mapping, which tells it of translations to remove.
  std::unique_ptr<InodeWindows> windows HF_GUARDED_BY(lock);

  ReleaseHookPtr release_hook;  // before mapping: told until the mapping ends
  mapping::Mapping mapping;

  std::string path_hint() const;  // as last opened; the inode's number when not known
  void set_path_hint(std::string_view path);
  // path_hint for reports: empty when not known.
  std::string known_path() const;

 private:
  friend class InodeTable;
  friend class InodeRef;
  std::atomic<std::uint32_t> references_{0};
  bool orphan_ = false;    // guarded by the table's mutex
  bool evicting_ = false;  // guarded by the table's mutex
  bool dropping_ = false;  // guarded by the table's mutex
  // The table's list of unreferenced inodes, oldest first; guarded by the table's mutex.
  bool unused_ = false;
  Inode* older_ = nullptr;
  Inode* newer_ = nullptr;
  mutable Mutex hint_lock_{LockRank::leaf};
  std::string path_hint_ HF_GUARDED_BY(hint_lock_);
};

// A counted reference. Dropping the last one of an orphan hands the inode to eviction; it never blocks.
class InodeRef {
 public:
  InodeRef() = default;
  InodeRef(InodeRef&& other) noexcept : inode_(other.inode_) { other.inode_ = nullptr; }
  InodeRef& operator=(InodeRef&& other) noexcept;
  InodeRef share() const;
  ~InodeRef();
  Inode* operator->() const { return inode_; }
  Inode& operator*() const { return *inode_; }
  explicit operator bool() const { return inode_ != nullptr; }

 private:
  friend class InodeTable;
  explicit InodeRef(Inode* inode) : inode_(inode) {}
  void drop() noexcept;
  Inode* inode_ = nullptr;
};

}  // namespace holdfast::filesystem

#include "filesystem/inode_table.h"  // IWYU pragma: export
