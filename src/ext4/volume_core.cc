#include "ext4/volume_core.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "base/clock.h"
#include "ext4/checksum.h"
#include "ext4/features.h"
#include "ext4/inode_attributes.h"

namespace holdfast::ext4 {
namespace {

constexpr std::size_t kCleanBlocksMax = 16 * 1024;
constexpr std::size_t kCleanInodesMax = 16 * 1024;

}  // namespace

VolumeCore::VolumeCore(device::Device& device, const ext2_super_block& super, const Geometry& geometry, bool read_only)
    : device_(device),
      read_only_(read_only),
      super_(super),
      geometry_(geometry),
      cache_(
          device, [this](const CachedBlock& block) { return verify(block); },
          [this](CachedBlock& block) { return seal(block); }),
      groups_(super_, geometry_, device.name()),
      allocator_(device, cache_, geometry_, groups_),
      inodes_(cache_, geometry_, groups_, device.name()),
      inode_allocator_(cache_, geometry_, groups_, allocator_, inodes_, device.name()),
      orphans_(*this, super_) {}

VolumeCore::~VolumeCore() = default;

Result<std::unique_ptr<VolumeCore>> VolumeCore::open(device::Device& device, bool read_only) {
  HF_ASSIGN(std::unique_ptr<VolumeCore> volume, open_unrooted(device, read_only));
  HF_ASSIGN(const RawInode* root, volume->inode(InodeNumber{EXT2_ROOT_INO}));
  if (!LINUX_S_ISDIR(root->body.i_mode)) return damaged(*volume, "inode 2: the root is not a directory");
  HF_TRY(volume->orphans_.load());
  return volume;
}

Result<std::unique_ptr<VolumeCore>> VolumeCore::open_unrooted(device::Device& device, bool read_only) {
  if (device.read_only() && !read_only) {
    return Error(EROFS, device.name(), "the device was opened read-only", "mount it read-only");
  }
  HF_ASSIGN(const ext2_super_block super, read_superblock(device));
  HF_TRY(check_features(super, device.name(), read_only));
  HF_ASSIGN(const Geometry geometry, check_geometry(super, device));
  std::unique_ptr<VolumeCore> volume(new VolumeCore(device, super, geometry, read_only));
  HF_TRY(volume->groups_.load(device));
  volume->allocator_.load();
  volume->inode_allocator_.load();
  return volume;
}

ext2_filsys VolumeCore::library() {
  if (library_ == nullptr) {
    Result<Library> opened = open_library(*this);
    if (opened) library_ = std::move(opened).value();
  }
  return library_.get();
}

std::uint32_t VolumeCore::inode_seed(InodeNumber inode, std::uint32_t generation) const {
  return inodes_.seed(raw(inode), generation);
}

Result<RawInode*> VolumeCore::inode(InodeNumber inode) {
  HF_ASSIGN(RawInode* const raw_inode, inodes_.get(raw(inode)));
  const ext2_inode_large& body = raw_inode->body;
  if (body.i_links_count == 0) {
    // Freed ones keep their mode, and orphans have no links either: the bitmap knows.
    bool used = body.i_mode != 0;
    if (used) {
      HF_ASSIGN(used, inode_allocator_.in_use(raw(inode)));
    }
    if (!used) return Error(ENOENT, name(), fmt::format("inode {} is not in use", raw(inode)));
  }
  if (!has_known_type(body.i_mode)) {
    return damaged(*this, fmt::format("inode {}: mode {:#o} names no type of file", raw(inode), body.i_mode));
  }
  return raw_inode;
}

Status VolumeCore::check_run(BlockRun run) const {
  if (run.count != 0 && run.first < geometry_.blocks && run.count <= geometry_.blocks - run.first &&
      !groups_.overlaps_metadata(run.first, run.count)) {
    return {};
  }
  return damaged(*this, fmt::format("blocks {}+{} cannot belong to a file", run.first, run.count));
}

Status VolumeCore::verify(const CachedBlock& block) const {
  switch (block.kind) {
    case BlockKind::plain:
    case BlockKind::group_table:
    case BlockKind::inode_table:
      return {};
    case BlockKind::block_bitmap:
      if (!groups_.block_bitmap_verifies(block.owner_seed, block.data.data())) {
        return damaged(*this, fmt::format("the block bitmap of group {} has a wrong checksum", block.owner_seed));
      }
      if (!groups_.bitmap_covers_metadata(block.owner_seed, block.data.data())) {
        return damaged(*this, fmt::format("the block bitmap of group {} calls metadata free", block.owner_seed));
      }
      return {};
    case BlockKind::inode_bitmap:
      if (groups_.inode_bitmap_verifies(block.owner_seed, block.data.data())) return {};
      return damaged(*this, fmt::format("the inode bitmap of group {} has a wrong checksum", block.owner_seed));
    default:
      break;
  }
  HF_TRY(check_run({block.number, 1}));
  if (!geometry_.metadata_checksums) return {};
  const std::string complaint = verify_block(geometry_.seed, block);
  if (complaint.empty()) return {};
  return damaged(*this, fmt::format("block {} {}", block.number, complaint));
}

Status VolumeCore::seal(CachedBlock& block) const {
  if (!geometry_.metadata_checksums) return {};
  const std::string complaint = seal_block(geometry_.seed, block);
  if (complaint.empty()) return {};
  return damaged(*this, fmt::format("block {} {}", block.number, complaint));
}

ext2_super_block& VolumeCore::change_superblock() {
  superblock_changed_ = true;
  return super_;
}

bool VolumeCore::anything_to_commit() const { return superblock_changed_ || changes() != 0; }

Status VolumeCore::write_superblock() {
  const std::uint64_t free_blocks = allocator_.free_clusters() << geometry_.cluster_shift;
  super_.s_free_blocks_count = static_cast<std::uint32_t>(free_blocks);
  if ((super_.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0) {
    super_.s_free_blocks_hi = static_cast<std::uint32_t>(free_blocks >> 32);
  }
  super_.s_free_inodes_count = static_cast<std::uint32_t>(inode_allocator_.free_inodes());
  set_time(super_.s_wtime, super_.s_wtime_hi, file_time_now().seconds);
  if (geometry_.metadata_checksums) super_.s_checksum = superblock_checksum(super_);
  HF_ASSIGN(BlockRef block, cache_.read(0, BlockKind::plain));
  std::memcpy(cache_.modify(block) + kSuperblockOffset, &super_, sizeof(super_));
  return {};
}

Status VolumeCore::gather_and_write() {
  HF_TRY(inodes_.seal());
  HF_TRY(orphans_.seal());
  HF_TRY(inode_allocator_.seal());
  HF_TRY(allocator_.seal());
  HF_TRY(groups_.seal(cache_));
  HF_TRY(write_superblock());
  return cache_.write_out();
}

Status VolumeCore::commit() {
  if (failure_) {
    return Error(EROFS, name(), "writing stopped after an earlier failure: " + failure_->message(),
                 "run e2fsck -f before the next mount");
  }
  if (!anything_to_commit()) return {};
  HF_CHECK(!read_only_, "a commit of a read-only mount");
  if (Status written = gather_and_write(); !written) {
    failure_ = written.error();
    return written;
  }
  superblock_changed_ = false;
  allocator_.committed();
  if (library_ != nullptr) std::memcpy(library_->super, &super_, sizeof(super_));
  return {};
}

void VolumeCore::trim() {
  cache_.trim(kCleanBlocksMax);
  inodes_.trim(kCleanInodesMax);
}

}  // namespace holdfast::ext4
