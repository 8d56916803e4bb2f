#include "ext4/recovery.h"

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "device/copy.h"
#include "ext4/checksum.h"
#include "ext4/features.h"
#include "ext4/journal_scan.h"

namespace holdfast::ext4 {
namespace {

bool needs_recovery(const ext2_super_block& super) {
  return (super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0;
}

bool has_own_journal(const ext2_super_block& super) {
  return (super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) != 0 && super.s_journal_inum != 0;
}

ext2_super_block super_in(const LogBlock& block) {
  ext2_super_block super;
  std::memcpy(&super, block.data() + kSuperblockOffset, sizeof(super));
  return super;
}

class Recovery {
 public:
  Recovery(device::Device& device, bool read_only) : device_(device), read_only_(read_only) {}

  Result<Recovered> run() {
    HF_ASSIGN(const SuperblockRead read, read_superblock(device_));
    recovered_.super = read.super;
    if (read.torn) HF_TRY(restore_superblock());
    HF_TRY(look_at_superblock());
    recovered_.report.unclean = needs_recovery(recovered_.super);
    // Nothing is to be known of the journal where nothing is written and nothing is to be replayed.
    if (!has_own_journal(recovered_.super)) return std::move(recovered_);
    if (read_only_ && !needs_recovery(recovered_.super)) return std::move(recovered_);
    if (!area_) HF_TRY(find_journal());
    if (!super_->empty()) {
      if (!needs_recovery(recovered_.super)) {
        return journal_damaged(device_, "its log holds something, and the file system does not say so");
      }
      HF_TRY(replay());
    }
    if (!read_only_) recovered_.journal = std::make_unique<Journal>(device_, *std::move(area_), *std::move(super_));
    return std::move(recovered_);
  }

 private:
  Status look_at_superblock() {
    HF_TRY(check_features(recovered_.super, device_.name(), read_only_));
    HF_ASSIGN(recovered_.geometry, check_geometry(recovered_.super, device_));
    return {};
  }

  Status find_journal() {
    HF_ASSIGN(area_, JournalArea::find(device_, recovered_.super, recovered_.geometry));
    HF_ASSIGN(super_, JournalSuper::read(device_, *area_));
    return {};
  }

  Status replay() {
    HF_ASSIGN(const LogContents contents, scan_log(device_, *area_, *super_, recovered_.geometry));
    if (read_only_) {
      HF_ASSIGN(ReplayedBlocks blocks, replay_into_memory(device_, *area_, contents));
      recovered_.replayed = std::make_unique<ReplayedBlocks>(std::move(blocks));
    } else {
      HF_TRY(replay_home(device_, *area_, *super_, contents));
    }
    recovered_.report.transactions = contents.transactions;
    recovered_.report.blocks = contents.copies.size();
    recovered_.report.revoked = contents.revoked;
    recovered_.report.in_memory = read_only_;
    return reread_superblock();
  }

  Status reread_superblock() {
    const std::byte* const copy = recovered_.replayed != nullptr ? recovered_.replayed->find(0) : nullptr;
    if (copy != nullptr) {
      std::memcpy(&recovered_.super, copy + kSuperblockOffset, sizeof(recovered_.super));
    } else if (!read_only_) {
      HF_ASSIGN(const SuperblockRead read, read_superblock(device_));
      if (read.torn) return superblock_torn(device_);
      recovered_.super = read.super;
    }
    return look_at_superblock();
  }

  // --- a superblock that was cut short ---

  Status restore_superblock() {
    if (!has_own_journal(recovered_.super) || !find_journal_of_torn() || !super_->shape().has_crc32c()) {
      return superblock_torn(device_);
    }
    HF_ASSIGN(const std::optional<ext2_super_block> newest, newest_copy());
    if (!newest) return superblock_torn(device_);
    recovered_.super = *newest;
    recovered_.report.superblock_restored = true;
    if (read_only_) return {};
    // Home at once: the log that has the copy is about to be written over.
    if (device::copy(device_.at(kSuperblockOffset), &recovered_.super, sizeof(recovered_.super)) !=
        device::CopyOutcome::done) {
      return Error(EIO, device_.name(), "writing the superblock failed");
    }
    HF_TRY(device_.flush(kSuperblockOffset, sizeof(recovered_.super)));
    return device_.fence();
  }

  // What is found with a wrong shape is found by nobody: inode and journal superblock have checksums of their own.
  bool find_journal_of_torn() {
    Result<Geometry> geometry = check_geometry(recovered_.super, device_);
    if (!geometry) return false;
    recovered_.geometry = std::move(geometry).value();
    return find_journal().has_value() && !super_->torn();
  }

  Result<std::optional<ext2_super_block>> copy_in(const JournalSuper& from) {
    HF_ASSIGN(const LogContents contents, scan_log(device_, *area_, from, recovered_.geometry));
    std::optional<ext2_super_block> found;
    if (contents.copies.empty() || contents.copies.front().home != 0) return found;
    LogBlock block;
    HF_TRY(read_copy(device_, *area_, contents.copies.front(), block));
    const ext2_super_block super = super_in(block);
    if (super.s_magic == EXT2_SUPER_MAGIC && super.s_checksum == superblock_checksum(super)) found = super;
    return found;
  }

  Result<std::optional<ext2_super_block>> newest_copy() {
    if (!super_->empty()) return copy_in(*super_);
    // The log has ended, or was about to begin: its last transaction is still there, or its first one already.
    std::optional<ext2_super_block> newest;
    std::uint32_t newest_sequence = super_->sequence() - 2;
    LogBlock block;
    for (std::uint32_t index = super_->first(); index < super_->end(); ++index) {
      if (device::copy(block.data(), device_.at(Pfn(area_->at(index))), block.size()) != device::CopyOutcome::done) {
        continue;
      }
      const std::uint32_t sequence = reinterpret_cast<const LogHeader*>(block.data())->sequence.value();
      const bool begins = type_of(block, sequence) == LogBlockType::descriptor;
      if (!begins || !sequence_after(sequence, newest_sequence) || sequence_after(sequence, super_->sequence() + 1)) {
        continue;
      }
      JournalSuper from = *super_;
      from.set_log(index, sequence);
      const Result<std::optional<ext2_super_block>> copy = copy_in(from);
      if (!copy || !*copy) continue;
      newest = *copy;
      newest_sequence = sequence;
    }
    return newest;
  }

  device::Device& device_;
  const bool read_only_;
  Recovered recovered_;
  std::optional<JournalArea> area_;
  std::optional<JournalSuper> super_;
};

}  // namespace

Result<Recovered> recover(device::Device& device, bool read_only) { return Recovery(device, read_only).run(); }

}  // namespace holdfast::ext4
