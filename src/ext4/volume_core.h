// The volume itself: superblock, group descriptors, caches and allocators put together, and the commit.
//
// A commit gathers what changed in an order in which each step may change only what a later step writes: inodes into
// their table blocks, bitmaps' checksums into descriptors, descriptors and superblock into their blocks, and then all
// blocks home. After a commit that failed nothing is written any more (fail-stop): what the medium holds is unknown,
// and every later change would be built on it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ext4/allocator.h"
#include "ext4/block_cache.h"
#include "ext4/directory_cache.h"
#include "ext4/group_table.h"
#include "ext4/inode_alloc.h"
#include "ext4/inode_table.h"
#include "ext4/library_io.h"
#include "ext4/orphan_list.h"
#include "ext4/superblock.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

class VolumeCore final : public Volume {
 public:
  // Reads and checks superblock and descriptors; changes nothing. ENOTSUP, EINVAL, EUCLEAN, EIO, EROFS.
  static Result<std::unique_ptr<VolumeCore>> open(device::Device& device, bool read_only);
  // The same for a volume in the making, which has no root directory yet.
  static Result<std::unique_ptr<VolumeCore>> open_unrooted(device::Device& device, bool read_only);
  ~VolumeCore() override;

  device::Device& device() override { return device_; }
  const std::string& name() const override { return device_.name(); }
  BlockCache& cache() override { return cache_; }
  ext2_filsys library() override;
  const ext2_super_block& superblock() const override { return super_; }
  bool has_metadata_checksums() const override { return geometry_.metadata_checksums; }
  std::uint32_t inode_seed(InodeNumber inode, std::uint32_t generation) const override;
  std::uint64_t blocks_per_cluster() const override { return geometry_.blocks_per_cluster(); }
  bool read_only() const override { return read_only_; }
  DirectoryCache& directories() override { return directories_; }

  Result<RawInode*> inode(InodeNumber inode) override;
  void inode_changed(InodeNumber inode) override { inodes_.changed(raw(inode)); }

  Result<BlockRun> allocate_data(const Goal& goal) override { return allocator_.allocate_data(goal); }
  Result<BlockNumber> allocate_metadata(BlockNumber near) override { return allocator_.allocate_metadata(near); }
  Status free_blocks(BlockRun run) override { return allocator_.free_blocks(run); }
  void unallocate(BlockRun run) override { allocator_.unallocate(run); }
  std::uint64_t free_clusters() const override { return allocator_.free_clusters(); }
  Status check_run(BlockRun run) const override;

  // What the format class needs beyond.
  const Geometry& geometry() const { return geometry_; }
  Allocator& allocator() { return allocator_; }
  const GroupTable& groups() const { return groups_; }
  InodeAllocator& inode_allocator() { return inode_allocator_; }
  InodeTable& inode_table() { return inodes_; }
  OrphanList& orphans() { return orphans_; }
  // For changes of the superblock; they are written by the next commit.
  ext2_super_block& change_superblock();

  bool anything_to_commit() const;
  // Blocks and inodes changed since the last commit.
  std::size_t changes() const { return cache_.dirty_blocks() + inodes_.dirty(); }
  // EROFS after an earlier failure; else what failed now.
  Status commit();
  // Why nothing is written any more.
  const std::optional<Error>& failure() const { return failure_; }
  // Between operations: keeps the caches within their bounds.
  void trim();

 private:
  VolumeCore(device::Device& device, const ext2_super_block& super, const Geometry& geometry, bool read_only);
  Status verify(const CachedBlock& block) const;
  Status seal(CachedBlock& block) const;
  Status write_superblock();
  Status gather_and_write();

  device::Device& device_;
  const bool read_only_;
  ext2_super_block super_;
  const Geometry geometry_;
  BlockCache cache_;
  GroupTable groups_;
  Allocator allocator_;
  InodeTable inodes_;
  InodeAllocator inode_allocator_;
  OrphanList orphans_;
  DirectoryCache directories_;
  Library library_;  // made when first asked for
  bool superblock_changed_ = false;
  std::optional<Error> failure_;
};

}  // namespace holdfast::ext4
