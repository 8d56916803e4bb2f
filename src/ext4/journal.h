// The journal of a volume mounted for writing: transactions into the log, and home.
//
// Life of a transaction:
//
//   running ──commit: no handle is open, nothing changes──► committing ──its commit block is durable──► committed
//   committed ──checkpoint: its blocks are home and durable, then the superblock says so──► checkpointed
//
// There is one running transaction: what is dirty in the block cache. There is at most one committing one, because
// commits run one at a time and wait until no handle is open. Committed ones are the log from its start to the head,
// and the blocks that the cache calls logged: newer than home, and kept in memory until they are there. A checkpoint
// brings all of them home at once: when half the log is in use, when they are many, when nothing else is to be done,
// and at the end. So whenever the journal's superblock is written the log holds nothing that is not home; one that was
// cut short, and for which a tool throws the log away, costs nothing.
//
// Order of a commit. Each step begins when what the one before started is durable:
//   1. bytes of files that the transaction makes readable (flushed by whoever told of them, filesystem/ordered.h),
//      revoke blocks, descriptors, copies, and zeros where the commit block comes
//   2. the commit block's one line of words, its magic last
//
// Invariants:
//   J4 home is written with nothing but contents of committed transactions, after their commit blocks were durable.
//   J5 the log has room for the running transaction at any time: begin() of a handle sees to it (log_credits.h), and
//      nothing else adds changes.
//   J6 a block in the log that is freed is revoked by the transaction that frees it, or is dirty again in a later one.
//   J7 no block of the log is written again before the superblock that begins behind it is durable.
//
// Locking: the format lock, as everything of a Volume.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "ext4/block_cache.h"
#include "ext4/journal_area.h"
#include "ext4/journal_block.h"
#include "ext4/journal_super.h"

namespace holdfast::ext4 {

class Journal {
 public:
  // Precondition: the log is empty.
  Journal(device::Device& device, JournalArea area, JournalSuper super);

  // Begins the log, which the first checkpoint says: until then nothing would be replayed. Adds to the journal's
  // features what a writer does. Test: Recovery.AKilledProcess.
  Status start(const ext2_super_block& volume);
  bool started() const { return started_; }

  // Log blocks that a transaction of so many changed and revoked blocks takes.
  std::uint64_t blocks_for(std::uint64_t changed, std::uint64_t revoked) const;
  // Log blocks that are free now, and when nothing is in use.
  std::uint64_t room() const { return capacity() - used_; }
  std::uint64_t capacity() const { return super_.ring() - 1; }
  bool empty() const { return used_ == 0; }

  // Commits what is dirty in the cache. Preconditions: sealed by their owners; no handle is open. EIO, ENOSPC of the
  // carrier: nothing may be written any more.
  Status commit(BlockCache& cache);
  bool wants_checkpoint(const BlockCache& cache) const;
  // Brings every committed transaction home. Precondition: nothing is dirty. EIO: as above.
  Status checkpoint(BlockCache& cache);
  // The log is empty, durably. Precondition: checkpointed.
  Status stop();

  const JournalArea& area() const { return area_; }

 private:
  class Writer;

  device::Device& device_;
  const JournalArea area_;
  JournalSuper super_;
  bool started_ = false;
  std::uint32_t head_ = 0;      // block of the log that is written next
  std::uint32_t sequence_ = 0;  // of the running transaction
  std::uint64_t used_ = 0;      // blocks from the start to the head
};

}  // namespace holdfast::ext4
