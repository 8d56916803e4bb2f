#include "ext4/volume_core.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fault_point.h"
#include "device/copy.h"
#include "ext4/checksum.h"
#include "ext4/inode_attributes.h"
#include "ext4/opener.h"

namespace holdfast::ext4 {
namespace {

constexpr std::size_t kCleanBlocksMax = 16 * 1024;
constexpr std::size_t kCleanInodesMax = 16 * 1024;

}  // namespace

VolumeCore::VolumeCore(device::Device& device, Recovered recovered, bool read_only)
    : device_(device),
      read_only_(read_only),
      super_(recovered.super),
      geometry_(recovered.geometry),
      cache_(
          device, [this](const CachedBlock& block) { return verify(block); },
          [this](CachedBlock& block) { return seal(block); }),
      groups_(super_, geometry_, device.name()),
      allocator_(device, cache_, geometry_, groups_),
      inodes_(cache_, geometry_, groups_, device.name()),
      inode_allocator_(cache_, geometry_, groups_, allocator_, inodes_, device.name()),
      orphans_(*this, super_),
      replayed_(std::move(recovered.replayed)),
      journal_(std::move(recovered.journal)),
      recovery_(recovered.report) {
  if (replayed_ != nullptr) cache_.read_through(*replayed_);
}

VolumeCore::~VolumeCore() = default;

Result<std::unique_ptr<VolumeCore>> VolumeCore::open(device::Device& device, bool read_only) {
  if (device.read_only() && !read_only) {
    return Error(EROFS, device.name(), "the device was opened read-only", "mount it read-only");
  }
  HF_ASSIGN(Recovered recovered, recover(device, read_only));
  HF_ASSIGN(std::unique_ptr<VolumeCore> volume, open_unrooted(device, std::move(recovered), read_only));
  HF_ASSIGN(const RawInode* root, volume->inode(InodeNumber{EXT2_ROOT_INO}));
  if (!LINUX_S_ISDIR(root->body.i_mode)) return damaged(*volume, "inode 2: the root is not a directory");
  HF_TRY(volume->orphans_.load());
  return volume;
}

Result<std::unique_ptr<VolumeCore>> VolumeCore::open_unwritten(device::Device& device, const ext2_super_block& super,
                                                               const Geometry& geometry) {
  Recovered made;
  made.super = super;
  made.geometry = geometry;
  return open_unrooted(device, std::move(made), false);
}

Result<std::unique_ptr<VolumeCore>> VolumeCore::open_unrooted(device::Device& device, Recovered recovered,
                                                              bool read_only) {
  std::unique_ptr<VolumeCore> volume(new VolumeCore(device, std::move(recovered), read_only));
  HF_TRY(volume->groups_.load(device, volume->replayed_.get()));
  HF_TRY(volume->check_journal_area());
  volume->allocator_.load();
  volume->inode_allocator_.load();
  return volume;
}

Status VolumeCore::check_journal_area() const {
  if (journal_ == nullptr) return {};
  for (const BlockRun& run : journal_->area().runs()) {
    if (!check_run(run)) return journal_damaged(device_, fmt::format("it lies on metadata, at block {}", run.first));
  }
  return {};
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
  ++superblock_changes_;
  return super_;
}

bool VolumeCore::anything_to_commit() const { return superblock_changed_ || changes() != 0; }

void VolumeCore::fill_superblock() {
  const std::uint64_t free_blocks = allocator_.free_clusters() << geometry_.cluster_shift;
  super_.s_free_blocks_count = static_cast<std::uint32_t>(free_blocks);
  if ((super_.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0) {
    super_.s_free_blocks_hi = static_cast<std::uint32_t>(free_blocks >> 32);
  }
  super_.s_free_inodes_count = static_cast<std::uint32_t>(inode_allocator_.free_inodes());
  set_time(super_.s_wtime, super_.s_wtime_hi, file_time_now().seconds);
  // Of an image that calls itself clean e2fsck frees the orphans but forgets to take them off the orphan file.
  if (journal_ != nullptr) {
    const std::uint32_t state = super_.s_state & ~std::uint32_t{EXT2_VALID_FS};
    super_.s_state = static_cast<std::uint16_t>(orphans_.file_is_empty() ? state | EXT2_VALID_FS : state);
  }
  if (geometry_.metadata_checksums) super_.s_checksum = superblock_checksum(super_);
}

Status VolumeCore::write_superblock() {
  fill_superblock();
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
  if (journal_ != nullptr) return journal_->commit(cache_);
  HF_TRY(device_.fence());
  return cache_.write_out();
}

Error VolumeCore::stopped() const {
  return {EROFS, name(), "writing stopped after an earlier failure: " + failure_->message(),
          journal_ != nullptr ? "close the pool and mount it again: the journal is replayed"
                              : "run e2fsck -f before the next mount"};
}

Status VolumeCore::stop_after(Status status) {
  if (!status) stop(status.error());
  return status;
}

// The first commit begins the log. Until the journal's superblock speaks of it nothing would be replayed; so a
// checkpoint follows at once.
Status VolumeCore::commit() {
  if (failure_) return stopped();
  if (!anything_to_commit()) return {};
  HF_CHECK(!read_only_, "a commit of a read-only mount");
  const bool begins = journal_ != nullptr && !journal_->started();
  if (begins) {
    super_.s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
    HF_TRY(stop_after(journal_->start(super_)));
  }
  HF_TRY(stop_after(gather_and_write()));
  superblock_changed_ = false;
  allocator_.committed();
  if (library_ != nullptr) std::memcpy(library_->super, &super_, sizeof(super_));
  if (begins || (journal_ != nullptr && journal_->wants_checkpoint(cache_))) return checkpoint();
  return {};
}

Status VolumeCore::checkpoint() {
  if (failure_) return stopped();
  if (journal_ == nullptr) return {};
  return stop_after(journal_->checkpoint(cache_));
}

Status VolumeCore::close_log() {
  if (failure_) return stopped();
  if (journal_ == nullptr || !journal_->started()) return {};
  HF_CHECK(!anything_to_commit(), "J4: changes that are not committed");
  HF_TRY(checkpoint());
  HF_TRY(stop_after(journal_->stop()));
  // In place: the log has ended. Cut short, it is found in the log's last transaction (recovery.h).
  super_.s_feature_incompat &= ~std::uint32_t{EXT3_FEATURE_INCOMPAT_RECOVER};
  leave_superblock();
  fill_superblock();
  if (HF_FAULT_POINT("ext4.superblock") ||
      device::copy(device_.at(kSuperblockOffset), &super_, sizeof(super_)) != device::CopyOutcome::done) {
    return stop_after(Error(EIO, name(), "writing the superblock failed"));
  }
  HF_TRY(stop_after(device_.flush(kSuperblockOffset, sizeof(super_))));
  return stop_after(device_.fence());
}

void VolumeCore::trust_memory() {
  allocator_.trust();
  recovery_.keeps_orphans = false;
  if (std::optional<Opener> opener = opener_of(super_); opener && opener->left_suspects) {
    opener->left_suspects = false;
    set_opener(change_superblock(), opener);
  }
}

void VolumeCore::leave_superblock() {
  const std::optional<Opener> opener = opener_of(super_);
  if (opener && !opener->left_suspects) set_opener(super_, std::nullopt);
}

bool VolumeCore::log_fits(std::uint64_t more) const { return more <= log_room(); }

// What commit would change: the group descriptors of sealed bitmaps and the superblock come last.
std::uint64_t VolumeCore::log_room() const {
  if (journal_ == nullptr) return ~std::uint64_t{0};
  const std::uint64_t changed = changes() + groups_.changed_blocks() + 1;
  const std::uint64_t taken = journal_->blocks_for(changed, cache_.revoked_blocks() + cache_.logged_blocks());
  if (taken >= journal_->room()) return 0;
  // Descriptor blocks come on top of what changes, one for each hundred at worst.
  return (journal_->room() - taken) / 101 * 100;
}

std::uint64_t VolumeCore::log_capacity() const {
  return journal_ == nullptr ? ~std::uint64_t{0} : journal_->capacity() / 101 * 100;
}

void VolumeCore::trim() {
  cache_.trim(kCleanBlocksMax);
  inodes_.trim(kCleanInodesMax);
}

}  // namespace holdfast::ext4
