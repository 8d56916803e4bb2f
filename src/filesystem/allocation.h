// Blocks for holes, and blocks ahead of a file that grows.
//
// New blocks are unwritten: whoever reads them sees zeros until a writer has filled them. A file that is appended to
// gets blocks beyond its end, more the longer it is, so that most appends ask the format for nothing; those that stay
// unused go when the last handle does, or when the pool runs out of space.
#pragma once

#include "base/clock.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

enum class Ahead : std::uint8_t {
  no,
  yes,  // the range continues the file at its end: more of the kind will follow
};

// Every page of the range has a block afterwards. ENOSPC (also after a commit, which makes freed blocks usable):
// nothing was added. The range is at most 128 MiB. Returns in what range blocks came; who may take the time makes units
// of them once no lock is held (unit_maker.h).
Result<PageRange> fill_holes(Inode& inode, PageRange range, Ahead ahead) HF_REQUIRES(inode.lock);

// Gives back blocks ahead of the file, unless a pin, an entry or a copy in progress is in the way.
Status drop_ahead(Inode& inode) HF_REQUIRES(inode.lock);
// The same for all blocks past the end, whoever asked for them.
Status drop_past_the_end(Inode& inode) HF_REQUIRES(inode.lock);
// Frees unwritten blocks that nobody asked to keep, or leaves them: when a copy into them outlasts the patience, a unit
// was tracked with them, a pin holds them, or they share a cluster with other pages of the file.
Status give_back(Inode& inode, PageRange added, Nanoseconds patience) HF_REQUIRES(inode.lock);

// Space ran out: evicts what was unlinked and waits for the worker, and drops what was allocated ahead. Worth one more
// attempt. No lock is held.
void make_space(Core& core);

}  // namespace holdfast::filesystem
