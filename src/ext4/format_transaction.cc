// Handles and commits of Ext4Format.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/mark.h"
#include "base/trace.h"
#include "ext4/bad_blocks.h"
#include "ext4/format.h"
#include "ext4/format_operation.h"
#include "ext4/log_credits.h"
#include "ext4/take_over.h"

namespace holdfast::ext4 {
namespace {

// Changes gathered before the next handle commits them: 16 MiB of blocks.
constexpr std::size_t kChangesMax = 4096;

// As ext4's commit= is by default.
constexpr Nanoseconds kCommitInterval = std::chrono::seconds(5);

}  // namespace

Ext4Format::OpenHandle::~OpenHandle() { format_.stop(*this); }

bool Ext4Format::commit_is_due(const filesystem::Reservation& reservation) const {
  if (volume_->changes() >= std::min<std::uint64_t>(kChangesMax, volume_->log_capacity() / 4)) return true;
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
                 volume_->has_journal() ? "close the pool and mount it again" : "run e2fsck -f before the next mount");
  }
  return {};
}

Status Ext4Format::drain_and_commit() {
  while (draining_) changed_.wait(mutex_);
  draining_ = true;
  HF_MARK("ext4.draining");
  while (handles_ != 0) changed_.wait(mutex_);
  Status committed = volume_->commit();
  if (committed) commits_.fetch_add(1, std::memory_order_release);
  // No handle is open, to which some of it may be promised.
  static_cast<void>(withhold_lost());
  draining_ = false;
  changed_.notify_all();
  HF_TRACE1(commit, committed.has_value() ? 0 : committed.error().code());
  return committed;
}

// Precondition: not draining_. The mutex is let go of while handles are waited for; on return it has been held since it
// was found that there is room.
Status Ext4Format::make_log_room(std::uint64_t credits) {
  if (volume_->log_fits(credits_ + credits)) return {};
  HF_TRY(drain_and_commit());
  if (volume_->log_fits(credits)) return {};
  HF_TRY(volume_->checkpoint());
  if (volume_->log_fits(credits)) return {};
  return Error(
      ENOSPC, volume_->name(),
      fmt::format("the operation may change {} blocks, and the journal takes {} at once", credits, volume_->log_room()),
      "make the journal larger: tune2fs -O ^has_journal, then tune2fs -J size=");
}

Result<std::unique_ptr<filesystem::Handle>> Ext4Format::begin(const filesystem::Reservation& reservation) {
  auto handle = std::make_unique<OpenHandle>(*this);
  const MutexLock lock(mutex_);
  HF_TRY(check_writable());
  const std::uint64_t credits =
      volume_->has_journal() ? log_credits(reservation, volume_->geometry(), volume_->log_capacity()) : 0;
  bool committed = false;
  for (;;) {
    while (draining_) changed_.wait(mutex_);
    if (!committed && commit_is_due(reservation)) {
      HF_TRY(drain_and_commit());
      committed = true;
      continue;
    }
    HF_TRY(make_log_room(credits));
    // A commit that was waited for may have failed. Before the handle opens: one that is refused counts nowhere (F1).
    // Test: HalfDone.ABeginThatWaitsForACommitThatFails.
    HF_TRY(check_writable());
    const std::uint64_t clusters = metadata_blocks(reservation);
    if (volume_->allocator().reserve(clusters, !reservation.takes_space)) {
      handle->open(clusters, credits);
      break;
    }
    if (!committed && volume_->allocator().pending_clusters() != 0) {
      HF_TRY(drain_and_commit());
      committed = true;
      continue;
    }
    if (reservation.takes_space) return volume_->allocator().no_space();
    handle->open(0, credits);
    break;
  }
  ++handles_;
  credits_ += credits;
  return std::unique_ptr<filesystem::Handle>(std::move(handle));
}

void Ext4Format::stop(OpenHandle& handle) {
  if (!handle.is_open()) return;
  const MutexLock lock(mutex_);
  // Whoever waits to commit has not begun yet, as this handle is open, and finds that it must not. Tests:
  // HalfDone.AnOperationThatStopsHalfway, HalfDone.ACommitThatWaitsForIt.
  if (handle.half_done() && !volume_->failure()) {
    const Error& why =
        handle.failure() ? *handle.failure() : Error(EIO, volume_->name(), "an operation ended half done");
    HF_MARK("ext4.half_done");
    volume_->stop(why);
  }
  volume_->allocator().unreserve(handle.reserved());
  credits_ -= handle.credits();
  --handles_;
  if (handles_ == 0 && draining_) changed_.notify_all();
}

Status Ext4Format::commit() {
  {
    const TransactionRank rank(this);
    const MutexLock lock(mutex_);
    if (read_only_) return {};
    HF_CHECK(!closed_, "a commit after close");
    HF_TRY(drain_and_commit());
  }
  return retire_and_commit();
}

void Ext4Format::stop(const Error& why) {
  const MutexLock lock(mutex_);
  if (!read_only_) volume_->stop(why);
}

Status Ext4Format::tend() {
  {
    const TransactionRank rank(this);
    const MutexLock lock(mutex_);
    if (read_only_ || closed_ || volume_->failure()) return {};
    if (!volume_->anything_to_commit()) {
      // Nothing has happened for a whole interval: a good time to bring home what is in the log. A handle that is open
      // and has changed nothing yet is no obstacle.
      const bool was_idle = std::exchange(idle_, true);
      return was_idle && !volume_->log_is_home() ? volume_->checkpoint() : Status();
    }
    idle_ = false;
  }
  return commit();
}

Nanoseconds Ext4Format::tend_interval() const {
  const MutexLock lock(mutex_);
  return volume_->has_journal() && !read_only_ ? kCommitInterval : Nanoseconds(0);
}

filesystem::Recovery Ext4Format::recovery() const {
  const MutexLock lock(mutex_);
  return volume_->recovery();
}

Status Ext4Format::trust_memory() {
  const TransactionRank rank(this);
  const MutexLock lock(mutex_);
  HF_TRY(check_writable());
  volume_->trust_memory();
  return drain_and_commit();
}

Status Ext4Format::mark_in_use(bool trusted) {
  const MutexLock lock(mutex_);
  if (read_only_) return {};
  HF_TRY(take_over(*volume_, trusted));
  ext2_super_block& super = volume_->change_superblock();
  if (!volume_->has_journal()) super.s_state = static_cast<std::uint16_t>(super.s_state & ~EXT2_VALID_FS);
  super.s_mnt_count = static_cast<std::uint16_t>(super.s_mnt_count + 1);
  set_time(super.s_mtime, super.s_mtime_hi, file_time_now().seconds);
  return volume_->commit();
}

// A group that cannot be read hands out nothing; that of it is said when all others are done.
Status Ext4Format::withhold_lost() {
  if (!volume_->device().poison().any()) return {};
  Status status;
  const std::uint64_t blocks = volume_->geometry().blocks;
  for (const device::PageRun& run : volume_->device().poison().all()) {
    if (run.first.raw() >= blocks) break;
    Status withheld =
        volume_->allocator().withhold({run.first.raw(), std::min(run.count.raw(), blocks - run.first.raw())});
    if (!withheld && status) status = std::move(withheld);
  }
  return status;
}

Status Ext4Format::avoid_lost() {
  Status withheld;
  {
    const TransactionRank rank(this);
    const MutexLock lock(mutex_);
    if (read_only_) return {};
    HF_CHECK(!closed_, "a change after close");
    HF_TRY(drain_and_commit());
    withheld = withhold_lost();
  }
  HF_TRY(retire_and_commit());
  return withheld;
}

// In a handle of its own, and not in the one that freed them: an operation that frees must succeed on a full pool, and
// knows nothing of lists. Until then they are withheld.
Status Ext4Format::retire_and_commit() {
  constexpr std::uint32_t kGroups = 8;
  constexpr std::size_t kClusters = 1024;
  if (!volume_->device().poison().any()) return {};
  bool retired = false;
  for (;; retired = true) {
    {
      const MutexLock lock(mutex_);
      if (volume_->allocator().withheld_clusters() == 0) break;
    }
    auto handle =
        begin({.inodes = 1, .extents = kGroups, .extent_nodes = bad_list_blocks(kClusters), .takes_space = true});
    if (!handle && handle.error().code() == ENOSPC) break;
    if (!handle) return std::move(handle).error();
    std::vector<BlockNumber> taken;
    Changing lock(*this, **handle);
    HF_TRY(lock.ended(volume_->allocator().take_lost(kGroups, kClusters, taken)));
    if (taken.empty()) break;
    HF_TRY(lock.ended(add_bad_blocks(*volume_, taken)));
    (*handle)->done();
  }
  if (!retired) return {};
  const TransactionRank rank(this);
  const MutexLock lock(mutex_);
  return drain_and_commit();
}

Status Ext4Format::bad_blocks(const std::function<void(Pfn first, PageCount count)>& visit) {
  const Reading lock(*this);
  return each_bad_run(*volume_, [&visit](BlockRun run) { visit(Pfn(run.first), PageCount(run.count)); });
}

Status Ext4Format::close(bool clean) {
  // What is to be recorded may have to be committed as free first. A failure is met again below.
  if (!read_only_ && volume_->device().poison().any()) static_cast<void>(commit());
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
  if (volume_->has_journal()) return volume_->close_log();
  ext2_super_block& super = volume_->change_superblock();
  super.s_state = static_cast<std::uint16_t>(super.s_state | EXT2_VALID_FS);
  volume_->leave_superblock();
  return volume_->commit();
}

}  // namespace holdfast::ext4
