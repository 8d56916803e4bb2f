// What a log holds: which copy of which home block is to be replayed.
//
// Two passes over the whole transactions: the first finds the end of the log and the revoke records, the second the
// copies that count. A transaction counts when its commit block is there with its sequence and checksum; the first that
// is not whole ends the log, because a commit block is written only when everything before it is durable. What cannot
// come from a crash is damage, and nothing is replayed then: a checksum that does not match inside a transaction that
// was committed, or a broken commit block with a whole transaction behind it. As in the kernel, a bad checksum together
// with a time that runs backwards is an old block that happens to have the number, and ends the log.
//
// Invariants of the answer:
//   J2 at most one copy for each home block: that of the last transaction, unless a revoke record of that transaction
//   or
//      a later one names the block.
//   J3 every copy was verified, and its home lies inside the volume and outside of the journal. The volume is as large
//   as
//      its superblock says, or a copy of that in the log: one that grew has blocks that only the copy counts.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/result.h"
#include "ext4/journal_area.h"
#include "ext4/journal_block.h"
#include "ext4/journal_super.h"

namespace holdfast::ext4 {

struct LogCopy {
  BlockNumber home = 0;
  std::uint32_t index = 0;  // block of the log
  bool escaped = false;
};

struct LogContents {
  std::vector<LogCopy> copies;  // by home
  std::uint32_t transactions = 0;
  std::uint64_t revoked = 0;        // copies that revoke records took away
  std::uint32_t next_sequence = 0;  // no transaction of the log, whole or not, has this number or a later one
};

// What begins at the superblock's start; nothing when that is 0. EUCLEAN, EIO. Reads each block of the log at most
// twice.
Result<LogContents> scan_log(device::Device& device, const JournalArea& area, const JournalSuper& super,
                             const Geometry& geometry);

// The copy as it belongs home.
Status read_copy(device::Device& device, const JournalArea& area, const LogCopy& copy, LogBlock& block);

}  // namespace holdfast::ext4
