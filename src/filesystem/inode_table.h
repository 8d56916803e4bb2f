// number -> Inode. At most one Inode object per number at a time, evicting ones included: a number is free for reuse
// only when its eviction is over. Unreferenced live inodes are kept up to a limit and dropped oldest first.
//
// Locking: the table's mutex (rank inode_table) guards the map, the states of its inodes and the step of a reference
// count to 0. The object of an inode ends only in finish_eviction and drop_unused, which run under the worker's turn.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "filesystem/inode.h"

namespace holdfast::filesystem {

class InodeTable {
 public:
  explicit InodeTable(Core& core);
  ~InodeTable();
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;

  // From memory or the format. Waits while the number's object is being dropped from the cache (bounded).
  // ESTALE: being evicted, or without names. ENOENT, EUCLEAN, EIO as the format says.
  Result<InodeRef> get(InodeNumber number);
  // A number that create_inode just gave out.
  InodeRef insert_new(InodeNumber number, const Attributes& attributes);
  // links went to 0 and the format's orphan list has it: the last reference starts eviction.
  void mark_orphan(Inode& inode);
  void unmark_orphan(Inode& inode);  // linked in again (unnamed files)
  bool is_evicting(const Inode& inode) const;
  // The object of a number that is being evicted, or nullptr. Worker's turn.
  Inode* evicting(InodeNumber number) const;
  // Inodes being evicted: those that pins keep, and those whose freeing failed.
  std::size_t evicting_count() const;
  // Eviction is over: the object goes, the number is free. Worker's turn.
  void finish_eviction(Inode& inode);
  // Inodes with open files, by path where known; for unmount's report.
  std::vector<std::string> referenced(std::size_t limit);
  // The path by which the inode was opened last; empty when it is not known.
  std::string known_path(InodeNumber number);
  // Calls `visit` for every inode in memory that is not evicting, each referenced meanwhile, with no lock held.
  void for_each(const std::function<void(Inode&)>& visit);
  // Drops unreferenced live inodes without pins, oldest first, until at most `keep` are left (entries zapped and
  // removed first). Worker's turn.
  void drop_unused(std::size_t keep = 0);
  // Every entry of every inode goes, so that pages are kept by pins alone. There are no handles. Worker's turn.
  void release_tracking();
  std::size_t unused() const;
  std::size_t size() const;

  static constexpr std::size_t kUnusedMax = 1U << 16;

 private:
  friend class InodeRef;
  struct Parts;
  // The table's mutex is held.
  InodeRef reference(Inode& inode);
  void set_unused(Inode& inode, bool unused);
  void released(Inode& inode) noexcept;
  bool drop(Inode& inode);

  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::filesystem
