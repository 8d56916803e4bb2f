// What a mount does before it reads anything of a volume: the superblock, and the journal where there is one.
//
// Until the log is replayed everything but the superblock's shape and the journal's own inode may be stale or half
// written. A mount for writing replays and goes on with an empty log; one for reading gets the blocks in memory.
//
// The superblock can itself have been cut short between its lines, because it is written in place when a log begins and
// when it ends. Each commit holds a copy of it, the one before it is written first included, so the newest copy in the
// log is the truth then. What does not change of it is in both of its states, which is how the log is found.
#pragma once

#include <memory>

#include "base/result.h"
#include "ext4/journal.h"
#include "ext4/journal_replay.h"
#include "ext4/superblock.h"
#include "filesystem/format.h"

namespace holdfast::ext4 {

struct Recovered {
  ext2_super_block super{};
  Geometry geometry;
  std::unique_ptr<Journal> journal;          // of a mount for writing, its log empty; null without one
  std::unique_ptr<ReplayedBlocks> replayed;  // of a mount for reading; null when there are none
  filesystem::Recovery report;
};

// EINVAL: not an ext4 image, or longer than the device. ENOTSUP: a feature, with the remedy. EUCLEAN: damaged, or not
// closed cleanly and without a journal. EIO; ENOSPC of the carrier. What was replayed before an error may be replayed
// again. Takes time for the log, not for the volume.
Result<Recovered> recover(device::Device& device, bool read_only);

}  // namespace holdfast::ext4
