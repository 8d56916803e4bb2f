#include "ext4/journal_scan.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>

#include <fmt/format.h>

#include "device/copy.h"

namespace holdfast::ext4 {
namespace {

struct TaggedCopy {
  Tag tag;
  std::uint32_t index = 0;
};

struct Transaction {
  std::uint32_t sequence = 0;
  std::uint32_t next = 0;   // block of the log behind its commit block
  std::uint32_t taken = 0;  // blocks of the log
  std::vector<TaggedCopy> copies;
  std::vector<BlockNumber> revokes;
  bool broken_inside = false;  // a descriptor or revoke block does not verify
  bool broken_commit = false;
  FileTime time;
};

Status read_block(device::Device& device, const JournalArea& area, std::uint32_t index, LogBlock& block) {
  if (device::copy(block.data(), device.at(Pfn(area.at(index))), block.size()) == device::CopyOutcome::done) return {};
  return Error(EIO, device.name(), fmt::format("reading block {} of the journal failed", index));
}

class Scanner {
 public:
  Scanner(device::Device& device, const JournalArea& area, const JournalSuper& super, const Geometry& geometry)
      : device_(device), area_(area), super_(super), geometry_(geometry) {}

  Result<LogContents> scan() {
    LogContents contents;
    contents.next_sequence = super_.sequence() + 1;
    if (!super_.empty()) {
      HF_TRY(find_transactions());
      HF_TRY(choose_copies(contents));
      contents.transactions = static_cast<std::uint32_t>(transactions_.size());
      // One more: the transaction that was not finished has a number, too.
      contents.next_sequence = super_.sequence() + contents.transactions + 1;
    }
    if (super_.torn() && transactions_.empty()) HF_TRY(refuse_newer_blocks());
    return contents;
  }

 private:
  // False: there is no whole transaction.
  Result<bool> read_transaction(std::uint32_t index, std::uint32_t sequence, std::uint32_t limit, Transaction& found) {
    found = Transaction{};
    found.sequence = sequence;
    std::uint32_t v1_sum = ~std::uint32_t{0};
    const bool sums = super_.shape().checksum == LogChecksum::v1;
    LogBlock block;
    for (;;) {
      if (++found.taken > limit) return false;
      HF_TRY(read_block(device_, area_, index, block));
      const std::optional<LogBlockType> type = type_of(block, sequence);
      if (!type) return false;
      index = super_.next(index);
      if (*type == LogBlockType::commit) {
        found.next = index;
        found.time = commit_time(block);
        found.broken_commit = !commit_verifies(super_.shape(), block, v1_sum);
        return true;
      }
      if (!block_verifies(super_.shape(), block)) found.broken_inside = true;
      if (*type == LogBlockType::revoke) {
        const std::optional<std::vector<BlockNumber>> homes = read_revokes(super_.shape(), block);
        if (!homes) {
          found.broken_inside = true;
          continue;
        }
        found.revokes.insert(found.revokes.end(), homes->begin(), homes->end());
        continue;
      }
      if (sums) v1_sum = add_to_v1(v1_sum, block.data());
      for (const Tag& tag : read_descriptor(super_.shape(), block)) {
        if (++found.taken > limit) return false;
        found.copies.push_back({tag, index});
        if (sums) {
          HF_TRY(read_block(device_, area_, index, block));
          v1_sum = add_to_v1(v1_sum, block.data());
        }
        index = super_.next(index);
      }
    }
  }

  Status find_transactions() {
    std::uint32_t index = super_.start();
    std::uint32_t sequence = super_.sequence();
    std::uint32_t left = super_.ring();
    FileTime last{};
    for (Transaction found;; last = found.time, index = found.next, left -= found.taken, ++sequence) {
      HF_ASSIGN(const bool whole, read_transaction(index, sequence, left, found));
      if (!whole) return {};
      if (found.broken_inside || found.broken_commit) {
        if (found.time < last) return {};
        if (found.broken_inside && !found.broken_commit) {
          return journal_damaged(device_, fmt::format("a checksum in transaction {} does not match", sequence));
        }
        Transaction behind;
        HF_ASSIGN(const bool more, read_transaction(found.next, sequence + 1, left - found.taken, behind));
        if (!more || behind.broken_commit) return {};
        return journal_damaged(device_, fmt::format("the commit of transaction {} does not match its checksum, and "
                                                    "another transaction follows",
                                                    sequence));
      }
      for (const BlockNumber home : found.revokes) revoked_[home] = sequence;
      transactions_.push_back(found);
    }
  }

  Status check_home(const Tag& tag, std::uint32_t sequence) const {
    if (tag.home < blocks_ && !area_.contains(tag.home)) return {};
    return journal_damaged(device_, fmt::format("transaction {} has a copy of block {}", sequence, tag.home));
  }

  // Test: Recovery.AVolumeThatGrew.
  Status find_growth() {
    blocks_ = geometry_.blocks;
    LogBlock block;
    for (const Transaction& transaction : transactions_) {
      for (const TaggedCopy& copy : transaction.copies) {
        if (copy.tag.home != 0) continue;
        HF_TRY(read_block(device_, area_, copy.index, block));
        if (!copy_verifies(super_.shape(), transaction.sequence, copy.tag, block.data())) continue;
        ext2_super_block super;
        std::memcpy(&super, block.data() + kSuperblockOffset, sizeof(super));
        const Result<Geometry> geometry = check_geometry(super, device_);
        if (super.s_magic == EXT2_SUPER_MAGIC && geometry) blocks_ = std::max(blocks_, geometry->blocks);
      }
    }
    return {};
  }

  Status choose_copies(LogContents& contents) {
    std::unordered_map<BlockNumber, LogCopy> last;
    LogBlock block;
    HF_TRY(find_growth());
    for (const Transaction& transaction : transactions_) {
      for (const TaggedCopy& copy : transaction.copies) {
        HF_TRY(check_home(copy.tag, transaction.sequence));
        const auto revoked = revoked_.find(copy.tag.home);
        if (revoked != revoked_.end() && !sequence_after(transaction.sequence, revoked->second)) {
          ++contents.revoked;
          continue;
        }
        HF_TRY(read_block(device_, area_, copy.index, block));
        if (!copy_verifies(super_.shape(), transaction.sequence, copy.tag, block.data())) {
          return journal_damaged(device_, fmt::format("the copy of block {} in transaction {} does not match its "
                                                      "checksum",
                                                      copy.tag.home, transaction.sequence));
        }
        last[copy.tag.home] = {copy.tag.home, copy.index, copy.tag.escaped};
      }
    }
    contents.copies.reserve(last.size());
    for (const auto& [home, copy] : last) contents.copies.push_back(copy);
    std::sort(contents.copies.begin(), contents.copies.end(),
              [](const LogCopy& a, const LogCopy& b) { return a.home < b.home; });
    return {};
  }

  // A superblock that was cut short says where the log began before or after that write, and in both cases nothing
  // newer is anywhere in the ring than what begins there. So when nothing does, and something is, its words are wrong.
  Status refuse_newer_blocks() {
    LogBlock block;
    for (std::uint32_t index = super_.first(); index < super_.end(); ++index) {
      HF_TRY(read_block(device_, area_, index, block));
      const auto* const header = reinterpret_cast<const LogHeader*>(block.data());
      const std::uint32_t sequence = header->sequence.value();
      if (type_of(block, sequence) == LogBlockType::commit && !sequence_after(super_.sequence(), sequence) &&
          commit_verifies(super_.shape(), block, 0)) {
        return journal_damaged(device_, fmt::format("the checksum of its superblock does not match, and its log does "
                                                    "not begin where transaction {} is",
                                                    sequence));
      }
    }
    return {};
  }

  device::Device& device_;
  const JournalArea& area_;
  const JournalSuper& super_;
  const Geometry& geometry_;
  std::uint64_t blocks_ = 0;  // of the volume
  std::vector<Transaction> transactions_;
  std::unordered_map<BlockNumber, std::uint32_t> revoked_;  // the last transaction that revokes it
};

}  // namespace

Result<LogContents> scan_log(device::Device& device, const JournalArea& area, const JournalSuper& super,
                             const Geometry& geometry) {
  return Scanner(device, area, super, geometry).scan();
}

Status read_copy(device::Device& device, const JournalArea& area, const LogCopy& copy, LogBlock& block) {
  HF_TRY(read_block(device, area, copy.index, block));
  if (copy.escaped) unescape(block.data());
  return {};
}

}  // namespace holdfast::ext4
