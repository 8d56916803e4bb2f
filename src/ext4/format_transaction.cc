// Handles and commits of Ext4Format.
#include <cerrno>

#include "base/check.h"
#include "base/mark.h"
#include "base/trace.h"
#include "ext4/format.h"
#include "ext4/format_operation.h"

namespace holdfast::ext4 {
namespace {

// Changes gathered before the next handle commits them: 16 MiB of blocks.
constexpr std::size_t kChangesMax = 4096;

// Metadata blocks that an operation may take at worst. A name can split a leaf and every node above it, and its
// directory's extents may need a node; extents fill nodes of 340 records, kept at least a third full.
std::uint64_t metadata_blocks(const filesystem::Reservation& reservation) {
  constexpr std::uint64_t kPerName = 6;
  constexpr std::uint64_t kTreeDepth = 5;
  std::uint64_t blocks = std::uint64_t{reservation.names} * kPerName + reservation.attribute_blocks;
  if (reservation.names != 0) blocks += kTreeDepth;
  if (reservation.extents != 0) blocks += kTreeDepth + reservation.extents / 100;
  return blocks;
}

}  // namespace

Ext4Format::OpenHandle::~OpenHandle() { format_.stop(*this); }

bool Ext4Format::commit_is_due(const filesystem::Reservation& reservation) const {
  if (volume_->changes() >= kChangesMax) return true;
  if (!reservation.takes_space) return false;
  // Space that only waits for its commit: fetch it before it is missed, or after it was.
  const Allocator& allocator = volume_->allocator();
  return allocator.pending_clusters() > allocator.usable_clusters() || allocator.commit_would_help();
}

Status Ext4Format::check_writable() const {
  HF_CHECK(!closed_, "a change after close");
  if (read_only_) return Error(EROFS, volume_->name(), "mounted read-only");
  if (volume_->failure()) {
    return Error(EROFS, volume_->name(), "writing stopped after an earlier failure: " + volume_->failure()->message(),
                 "run e2fsck -f before the next mount");
  }
  return {};
}

Status Ext4Format::drain_and_commit() {
  while (draining_) changed_.wait(mutex_);
  draining_ = true;
  HF_MARK("ext4.draining");
  while (handles_ != 0) changed_.wait(mutex_);
  Status committed = volume_->commit();
  draining_ = false;
  changed_.notify_all();
  HF_TRACE1(commit, committed.has_value() ? 0 : committed.error().code());
  return committed;
}

Result<std::unique_ptr<filesystem::Handle>> Ext4Format::begin(const filesystem::Reservation& reservation) {
  auto handle = std::make_unique<OpenHandle>(*this);
  const MutexLock lock(mutex_);
  HF_TRY(check_writable());
  bool committed = false;
  for (;;) {
    while (draining_) changed_.wait(mutex_);
    if (!committed && commit_is_due(reservation)) {
      HF_TRY(drain_and_commit());
      committed = true;
      continue;
    }
    const std::uint64_t clusters = metadata_blocks(reservation);
    if (volume_->allocator().reserve(clusters, !reservation.takes_space)) {
      handle->open(clusters);
      break;
    }
    if (!committed && volume_->allocator().pending_clusters() != 0) {
      HF_TRY(drain_and_commit());
      committed = true;
      continue;
    }
    if (reservation.takes_space) return Error(ENOSPC, volume_->name(), "no space left");
    handle->open(0);
    break;
  }
  HF_TRY(check_writable());
  ++handles_;
  return std::unique_ptr<filesystem::Handle>(std::move(handle));
}

void Ext4Format::stop(OpenHandle& handle) {
  if (!handle.is_open()) return;
  const MutexLock lock(mutex_);
  volume_->allocator().unreserve(handle.reserved());
  --handles_;
  if (handles_ == 0 && draining_) changed_.notify_all();
}

Status Ext4Format::commit() {
  const TransactionRank rank(this);
  const MutexLock lock(mutex_);
  if (read_only_) return {};
  HF_CHECK(!closed_, "a commit after close");
  return drain_and_commit();
}

Status Ext4Format::mark_in_use() {
  const MutexLock lock(mutex_);
  if (read_only_) return {};
  ext2_super_block& super = volume_->change_superblock();
  super.s_state = static_cast<std::uint16_t>(super.s_state & ~EXT2_VALID_FS);
  super.s_mnt_count = static_cast<std::uint16_t>(super.s_mnt_count + 1);
  set_time(super.s_mtime, super.s_mtime_hi, file_time_now().seconds);
  return volume_->commit();
}

Status Ext4Format::close(bool clean) {
  const TransactionRank rank(this);
  const MutexLock lock(mutex_);
  HF_CHECK(!closed_, "closed twice");
  if (read_only_) {
    closed_ = true;
    return {};
  }
  Status committed = drain_and_commit();
  closed_ = true;
  // Of an image that calls itself clean e2fsck frees the orphans but forgets to take them off the orphan file.
  if (!committed || !clean || !volume_->orphans().empty()) return committed;
  ext2_super_block& super = volume_->change_superblock();
  super.s_state = static_cast<std::uint16_t>(super.s_state | EXT2_VALID_FS);
  return volume_->commit();
}

}  // namespace holdfast::ext4
