// What is out of its file, or in a file without names and handles, and not reusable yet because somebody holds it.
//
// Such blocks belong to orphan inodes of the format: an evicted file keeps its own; what truncate and punch detach goes
// to the holding inode, of which there is at most one at a time. Freeing is truncating such an inode; so space is
// counted right, and any tool of the format frees them after a crash.
//
// An inode is in here from the moment its eviction begins, or its first pages are moved to it, until it has no blocks.
//
// Locking: rank quarantine, taken inside of the inode table's mutex, which nobody takes after it. The holding inode's
// own lock is taken after that of the inode whose pages it gets; nobody takes another inode's lock after it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include <holdfast/filesystem.h>

#include "base/mutex.h"
#include "base/result.h"
#include "filesystem/inode.h"
#include "mapping/hold.h"

namespace holdfast::filesystem {

class Quarantine {
 public:
  explicit Quarantine(Core& core) : core_(core) {}
  Quarantine(const Quarantine&) = delete;
  Quarantine& operator=(const Quarantine&) = delete;

  // --- reports; they finish first what the worker has been asked to look at ---
  std::uint64_t bytes();
  std::vector<QuarantineInfo> list();
  // Adds 1 to the eventfd once the quarantine is empty; at once when it is. EBADF.
  Status notify_when_empty(int event_fd);
  bool empty() const;
  // Woken when the quarantine becomes empty.
  const void* empty_key() const { return this; }

  // --- evicted inodes ---
  void begin(const Inode& inode);
  // How much of it is still held, after a look.
  void still_held(const Inode& inode, std::uint64_t bytes);
  void end(InodeNumber inode);
  // Evicted inodes that share units with the holding inode: a last put of such a unit is told to one of the two.
  std::vector<InodeNumber> sharers() const;

  // --- the holding inode ---
  // Empty when there is none.
  InodeRef holding() const;
  bool is_holding(const Inode& inode) const;
  // Makes it the holding inode, unless there is one.
  void offer_holding(InodeRef inode);
  // It has no blocks left; its lock is held. Its eviction follows when the reference goes.
  InodeRef give_up_holding();
  // The next free page index of it, whole clusters; `count` pages from there on are the caller's. Its lock is held.
  PageIndex next_index(PageCount count, PageCount cluster);

  // Pages of the holding inode that copies in progress still touch, besides pins.
  void add_holds(PageRange range, const mapping::LastingHolds& holds);
  bool held_by_copy(PageIndex index) const;
  bool waits_for_holds() const;
  bool holds_ended() const;
  // Looks at the holding inode when one of the copies has ended. Worker's turn.
  void serve_ended_holds();

 private:
  struct Record {
    std::uint64_t bytes = 0;
    bool evicted = false;
    bool shares_units = false;
  };
  struct Copied {
    PageRange range;
    mapping::LastingHolds holds;
  };
  void remove(InodeNumber inode);

  Core& core_;
  mutable Mutex mutex_{LockRank::quarantine};
  std::map<InodeNumber, Record> records_ HF_GUARDED_BY(mutex_);
  std::vector<int> event_fds_ HF_GUARDED_BY(mutex_);
  InodeRef holding_ HF_GUARDED_BY(mutex_);
  PageIndex next_ HF_GUARDED_BY(mutex_);
  std::vector<Copied> copied_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::filesystem
