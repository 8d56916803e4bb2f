// Whether everything of a volume fits together: what `e2fsck -fn` looks at in its five passes, and with its verdict.
//
//   superblock, descriptors   verify.cc           numbers that cannot be; the journal; the orphan file
//   every inode               verify_inode.cc, verify_kind.cc
//   its blocks                verify_map.cc       its tree of extents or blocks of block numbers, read whole
//   its attributes            verify_attributes.cc
//   every directory block     verify_directory.cc, verify_index.cc
//   names against inodes      verify_links.cc     each directory is in one place below the root; link counts
//   bitmaps and counts        verify_space.cc     against what was found to be in use
//
// It reads everything anew and believes no other structure: neither the bitmaps, nor the caches of a mount. What is
// looked at is the state after the replay that a mount for reading keeps in memory. Time and memory are linear in the
// volume: a bit for a cluster, eight bytes for an inode of a group that is in use.
//
// Where e2fsck is content and we are not, or the other way round, one of the two is wrong; the few places where it is
// e2fsck are told in DESIGN.md. Tests: Agreement.
#pragma once

#include "base/result.h"
#include "ext4/volume_core.h"
#include "filesystem/format.h"

namespace holdfast::ext4 {

// Precondition: a volume that is open for reading only, which nobody else uses meanwhile. ENOTSUP: a feature that keeps
// accounts of its own, with the remedy. ECANCELED: `progress` said so. What cannot be read is a problem, no error.
Result<filesystem::Verification> verify_volume(VolumeCore& volume, const filesystem::VerifyProgress& progress);

}  // namespace holdfast::ext4
