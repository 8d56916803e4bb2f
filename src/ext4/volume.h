// A mounted ext4 volume: the pieces that the parts of the format share.
//
// Volume owns the superblock, the group descriptors, the block cache and the allocator. The parts (extent trees,
// directories, attributes, inodes, orphans) are free functions or small classes over a Volume, each in its own file.
//
// Locking: everything here is called with the format lock held (Ext4Format takes it); nothing here locks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "device/device.h"
#include "ext4/block_cache.h"
#include "filesystem/format.h"

extern "C" {
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
}

namespace holdfast::ext4 {

using filesystem::Attributes;
using filesystem::FileType;
using filesystem::InodeNumber;
using filesystem::raw;
using BlockNumber = std::uint64_t;  // of 4 KiB; equals the page frame number

// An inode as it lies on the medium, whole (128 to 4096 bytes; what is past s_inode_size is zero).
struct RawInode {
  ext2_inode_large body{};
  // Bytes past the fixed part: in-inode extended attributes.
  std::vector<std::byte> tail;
};

struct BlockRun {
  BlockNumber first = 0;
  std::uint64_t count = 0;  // blocks
};

// Wishes for an allocation of data blocks.
struct Goal {
  BlockNumber near = 0;         // where to begin to look; 0: anywhere
  bool congruent = false;       // logical % 512 == physical % 512 wanted (large files)
  std::uint64_t logical = 0;    // file block that the run begins at
  std::uint64_t wanted = 1;     // blocks; the answer may be shorter, never longer
  bool keep_large_runs = true;  // a small file: do not break up large free runs while small ones are left
};

class DirectoryCache;  // directory_cache.h

class Volume {
 public:
  virtual ~Volume() = default;

  virtual device::Device& device() = 0;
  virtual const std::string& name() const = 0;  // the device's, for errors
  virtual BlockCache& cache() = 0;
  // libext2fs's view, over an io_manager that reads and writes through cache(); its bitmaps are never loaded.
  virtual ext2_filsys library() = 0;
  virtual const ext2_super_block& superblock() const = 0;
  virtual bool has_metadata_checksums() const = 0;
  // Seed of everything that belongs to an inode: crc32c(crc32c(fs seed, inode number), generation).
  virtual std::uint32_t inode_seed(InodeNumber inode, std::uint32_t generation) const = 0;
  virtual std::uint64_t blocks_per_cluster() const = 0;
  virtual bool read_only() const = 0;
  // What the directory functions remember between calls. The volume keeps one (default-constructed, no arguments) and
  // calls its forget(inode) when an inode is freed.
  virtual DirectoryCache& directories() = 0;

  // --- inodes (inode_table.cc) ---
  // The raw inode, from the inode cache. ENOENT, EUCLEAN, EINVAL (number out of range).
  virtual Result<RawInode*> inode(InodeNumber inode) = 0;  // valid until the format lock is released
  // Notes a change of *inode(number): it goes to its table block when the transaction is written out.
  virtual void inode_changed(InodeNumber inode) = 0;

  // --- space (allocator.cc) ---
  // One run of free blocks (whole clusters with bigalloc; clipped to a cluster at `logical`'s position inside its
  // cluster), marked used. Counts, group descriptors and bitmaps change in the running transaction. Device memory is
  // reserved. ENOSPC.
  virtual Result<BlockRun> allocate_data(const Goal& goal) = 0;
  // One block (one cluster's first block with bigalloc) for metadata of an inode. ENOSPC.
  virtual Result<BlockNumber> allocate_metadata(BlockNumber near) = 0;
  // Frees whole clusters; they are handed out again after the commit. cache().forget is called for metadata by the
  // caller.
  virtual Status free_blocks(BlockRun run) = 0;
  // Undoes allocate_data/allocate_metadata inside the same handle: at once usable again.
  virtual void unallocate(BlockRun run) = 0;
  virtual std::uint64_t free_clusters() const = 0;
  // EUCLEAN unless a file may own the whole run: inside the volume and clear of superblocks, descriptors, bitmaps and
  // inode tables. To be asked of every block number read from the medium before it is used.
  virtual Status check_run(BlockRun run) const = 0;
};

// The errors of damaged metadata all look alike: EUCLEAN, "<device>", "inode 12: <what>", "run e2fsck -f".
Error damaged(const Volume& volume, std::string what);

}  // namespace holdfast::ext4
