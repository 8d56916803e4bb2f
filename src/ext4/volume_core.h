// The volume itself: superblock, group descriptors, caches and allocators put together, and the commit.
//
// A commit gathers what changed in an order in which each step may change only what a later step writes: inodes into
// their table blocks, bitmaps' checksums into descriptors, descriptors and superblock into their blocks, and then all
// blocks into the journal, or home where there is none. After a commit that failed nothing is written any more
// (fail-stop): what the medium holds is unknown, and every later change would be built on it.
//
// What says that the volume is in use: with a journal, the feature needs_recovery, from the first commit on until
// close_log(); its state stays clean, because whoever mounts it next replays. Without one, its state is not clean.
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
#include "ext4/recovery.h"
#include "ext4/superblock.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

class VolumeCore final : public Volume {
 public:
  // Replays the journal (into memory when `read_only`), reads and checks superblock and descriptors; changes nothing
  // else. As recover(); EROFS.
  static Result<std::unique_ptr<VolumeCore>> open(device::Device& device, bool read_only);
  // For writing, of a volume in the making, whose superblock is nowhere yet.
  static Result<std::unique_ptr<VolumeCore>> open_unwritten(device::Device& device, const ext2_super_block& super,
                                                            const Geometry& geometry);
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

  // As the functions of the same name in filesystem/format.h.
  Status write_inode(InodeNumber inode, const Attributes& attributes);
  Result<InodeNumber> create_inode(InodeNumber parent, const Attributes& attributes, std::uint32_t generation);
  Status free_inode(InodeNumber inode);
  Status add_orphan(InodeNumber inode);
  Status remove_orphan(InodeNumber inode);

  bool anything_to_commit() const;
  // Blocks and inodes changed since the last commit.
  std::size_t changes() const { return cache_.dirty_blocks() + inodes_.dirty(); }
  // Another number after every change; the same one after an allocation that was taken back.
  std::uint64_t change_number() const {
    return cache_.modifications() - 2 * allocator_.taken_back() + inodes_.changes() + superblock_changes_;
  }
  // What was flushed on the device before, by this thread, is durable before the commit is. EROFS after an earlier
  // failure; else what failed now.
  Status commit();

  // --- the journal; without one there is always room ---
  bool has_journal() const { return journal_ != nullptr; }
  const filesystem::Recovery& recovery() const { return recovery_; }
  // A process that died may have transfers under way (take_over.h).
  void note_predecessor(std::uint32_t pid, bool keeps_orphans) {
    recovery_.predecessor = pid;
    recovery_.keeps_orphans = keeps_orphans;
  }
  // Somebody knows that they are over. The superblock changes.
  void trust_memory();
  // The process is about to end its use of the volume. Precondition: the superblock will be written.
  void leave_superblock();
  // Whether so many blocks may change beyond those that have.
  bool log_fits(std::uint64_t more) const;
  // How many, at least.
  std::uint64_t log_room() const;
  // Blocks that one transaction may change at most.
  std::uint64_t log_capacity() const;
  bool log_is_home() const { return journal_ == nullptr || journal_->empty(); }
  // Brings what was committed home. Precondition: nothing to commit. Errors as commit.
  Status checkpoint();
  // The log is empty and the volume is not in use any more. Precondition: nothing to commit.
  Status close_log();
  // Whether a replay in memory has blocks of the run, which what lies on the device is older than.
  bool is_stale(BlockRun run) const { return replayed_ != nullptr && replayed_->touches(run); }
  // Nothing is written any more: what is in memory does not belong together.
  void stop(const Error& why) {
    if (!failure_) failure_ = why;
  }
  // Why nothing is written any more.
  const std::optional<Error>& failure() const { return failure_; }
  // Between operations: keeps the caches within their bounds.
  void trim();

 private:
  VolumeCore(device::Device& device, Recovered recovered, bool read_only);
  static Result<std::unique_ptr<VolumeCore>> open_unrooted(device::Device& device, Recovered recovered, bool read_only);
  Status verify(const CachedBlock& block) const;
  Status seal(CachedBlock& block) const;
  Status check_journal_area() const;
  void fill_superblock();
  Status write_superblock();
  Status gather_and_write();
  Status stop_after(Status status);
  Error stopped() const;

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
  const std::unique_ptr<ReplayedBlocks> replayed_;
  const std::unique_ptr<Journal> journal_;
  filesystem::Recovery recovery_;
  Library library_;  // made when first asked for
  bool superblock_changed_ = false;
  std::uint64_t superblock_changes_ = 0;
  std::optional<Error> failure_;
};

}  // namespace holdfast::ext4
