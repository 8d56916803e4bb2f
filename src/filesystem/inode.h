// An inode in memory, and the table of those in use.
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
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/atomic.h"
#include "base/mutex.h"
#include "filesystem/extent_cache.h"
#include "filesystem/format.h"
#include "mapping/mapping.h"

namespace holdfast::filesystem {

class Core;

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
  ExtentCache extents;
  mapping::Mapping mapping;

  std::string path_hint() const;  // as last opened; for reports
  void set_path_hint(std::string_view path);

 private:
  friend class InodeTable;
  friend class InodeRef;
  std::atomic<std::uint32_t> references_{0};
  bool orphan_ = false;       // guarded by the table's mutex
  bool evicting_ = false;     // guarded by the table's mutex
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
  Inode* inode_ = nullptr;
};

// number -> Inode. At most one Inode object per number at a time, evicting ones included: a number is free for reuse
// only when its eviction is over. Unreferenced live inodes are kept up to a limit and dropped oldest first.
class InodeTable {
 public:
  explicit InodeTable(Core& core);
  ~InodeTable();

  // From memory or the format. ESTALE: being evicted. ENOENT, EUCLEAN, EIO as the format says.
  Result<InodeRef> get(InodeNumber number);
  // A number that create_inode just gave out.
  InodeRef insert_new(InodeNumber number, const Attributes& attributes);
  // links went to 0 and the format's orphan list has it: the last reference starts eviction.
  void mark_orphan(Inode& inode);
  void unmark_orphan(Inode& inode);  // linked in again (unnamed files)
  // Eviction is over: the object goes, the number is free.
  void finish_eviction(Inode& inode);
  // Open files and other referenced inodes, for unmount's report.
  std::vector<std::string> referenced(std::size_t limit) const;
  // Calls `visit` for every inode in memory. For sync and unmount.
  void for_each(const std::function<void(Inode&)>& visit);
  // Drops every unreferenced live inode (entries zapped and removed first).
  void drop_unused();

 private:
  friend class InodeRef;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::filesystem
