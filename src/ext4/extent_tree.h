// Blocks of files: which they are, new ones, their written state, their leaving and moving.
//
// Contracts are those of the functions of the same meaning in filesystem/format.h. All are called with the format lock
// held, the changing ones inside a handle. A function that fails has changed nothing; the one exception is an EUCLEAN
// from freeing (a damaged bitmap): the file has changed then, and the blocks stay marked as used for e2fsck to find.
//
// Files of volumes without extents can be read; a change to one is EOPNOTSUPP, with the remedy.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

// Makes the inode's block map an empty extent tree. Precondition: a new inode, without blocks.
void make_extent_root(RawInode& raw);

// Neighbours on the medium that are neighbours in the file and alike are given as one, whatever their records.
Status find_extents(Volume& volume, InodeNumber inode, PageRange range, std::vector<filesystem::Extent>& found);

// EFBIG: past the last block a file can have. With clusters above 4 KiB a hole in a cluster that the file already owns
// a part of is filled from that cluster. Takes at most so many pieces of free space; answers where it stopped.
Result<PageIndex> allocate_extents(Volume& volume, InodeNumber inode, PageRange range, filesystem::Initial initial,
                                   std::vector<filesystem::Extent>& added,
                                   std::uint64_t pieces_max = ~std::uint64_t{0});

// ENOSPC: the tree needed a node. Holes of the range stay holes.
Status mark_written(Volume& volume, InodeNumber inode, PageRange range);
// The reverse: blocks of the range read as zeros again. For what stays of a cluster past a file's new end, which e2fsck
// wants to be unwritten.
Status mark_unwritten(Volume& volume, InodeNumber inode, PageRange range);

// Answers the page from which on the range is done: everything of it at and after that page has left the file.
// range.first: all is done. Call again with [range.first, answer) for the rest.
Result<PageIndex> remove_extents(Volume& volume, InodeNumber inode, PageRange range, std::uint32_t extents_max);

// EEXIST: `to` has blocks there. EINVAL: the same inode, or with clusters above 4 KiB places that differ in their
// cluster. EFBIG.
Status move_extents(Volume& volume, InodeNumber from, PageRange range, InodeNumber to, PageIndex to_index);

}  // namespace holdfast::ext4
