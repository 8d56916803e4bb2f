#include "ext4/journal.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/mark.h"
#include "base/trace.h"
#include "device/copy.h"

namespace holdfast::ext4 {
namespace {

constexpr std::size_t kLoggedMax = 8 * 1024;  // blocks in memory that are not home: 32 MiB
constexpr std::size_t kFirstWords = 8;        // magic and type, which make a commit block one

std::uint64_t parts(std::uint64_t count, std::uint64_t each) { return (count + each - 1) / each; }

}  // namespace

// Puts the blocks of one transaction behind the head.
class Journal::Writer {
 public:
  explicit Writer(Journal& journal) : journal_(journal), device_(journal.device_), at_(journal.head_) {}

  std::uint32_t at() const { return at_; }
  std::uint64_t written() const { return written_; }
  std::uint32_t v1_sum() const { return v1_sum_; }

  Status revokes(std::span<const BlockNumber> homes) {
    const std::size_t each = shape().revokes_per_block();
    LogBlock block;
    for (std::size_t i = 0; i < homes.size(); i += each) {
      make_revokes(shape(), journal_.sequence_, homes.subspan(i, std::min(each, homes.size() - i)), block);
      HF_TRY(put(block.data()));
    }
    return {};
  }

  // The tags have the copies' checksums, and the descriptor comes before them: the copies are looked at twice.
  Status copies(std::span<CachedBlock* const> blocks) {
    const std::size_t each = shape().tags_per_block();
    std::vector<Tag> tags;
    LogBlock block;
    for (std::size_t i = 0; i < blocks.size(); i += each) {
      const auto part = blocks.subspan(i, std::min(each, blocks.size() - i));
      tags.clear();
      for (const CachedBlock* const copy : part) tags.push_back(tag_of(*copy, block));
      make_descriptor(shape(), journal_.sequence_, journal_.super_.uuid(), tags, block);
      add_to_sum(block.data());
      HF_TRY(put(block.data()));
      for (std::size_t copy = 0; copy < part.size(); ++copy) {
        const std::byte* const bytes = tags[copy].escaped ? escaped(*part[copy], block) : part[copy]->data.data();
        add_to_sum(bytes);
        HF_TRY(put(bytes));
      }
    }
    return {};
  }

  // Zeros, so that the commit block's line is all that is left to be written.
  Status room_for_commit() {
    LogBlock block;
    block.fill(std::byte{0});
    commit_at_ = at_;
    return put(block.data());
  }

  // Within one line stores reach the medium in their order: with the magic last, either the whole line is there or no
  // commit block is.
  Status commit_block() {
    LogBlock block;
    make_commit(shape(), journal_.sequence_, file_time_now(), v1_sum_, block);
    const Pfn pfn(journal_.area_.at(commit_at_));
    std::byte* const home = device_.at(pfn);
    bool failed = HF_FAULT_POINT("ext4.journal.commit") ||
                  device::copy(home + kFirstWords, block.data() + kFirstWords, sizeof(CommitWords) - kFirstWords) !=
                      device::CopyOutcome::done;
    // release: no partner in this process; the line's other words must not be stored after its first ones.
    std::atomic_thread_fence(std::memory_order_release);
    failed = failed || device::copy(home, block.data(), kFirstWords) != device::CopyOutcome::done;
    if (failed) return Error(EIO, device_.name(), "writing a commit block to the journal failed");
    return device_.flush(pfn.bytes(), sizeof(CommitWords));
  }

 private:
  const LogShape& shape() const { return journal_.super_.shape(); }

  void add_to_sum(const std::byte* bytes) {
    if (shape().checksum == LogChecksum::v1) v1_sum_ = add_to_v1(v1_sum_, bytes);
  }

  static const std::byte* escaped(const CachedBlock& copy, LogBlock& scratch) {
    scratch = copy.data;
    escape(scratch.data());
    return scratch.data();
  }

  Tag tag_of(const CachedBlock& copy, LogBlock& scratch) const {
    Tag tag;
    tag.home = copy.number;
    tag.escaped = must_escape(copy.data.data());
    if (shape().has_crc32c()) {
      tag.checksum =
          copy_checksum(shape(), journal_.sequence_, tag.escaped ? escaped(copy, scratch) : copy.data.data());
    }
    return tag;
  }

  Status put(const std::byte* bytes) {
    const Pfn pfn(journal_.area_.at(at_));
    if (HF_FAULT_POINT("ext4.journal.write") ||
        device::copy(device_.at(pfn), bytes, kBlockBytes) != device::CopyOutcome::done) {
      return Error(EIO, device_.name(), fmt::format("writing block {} of the journal failed", at_));
    }
    at_ = journal_.super_.next(at_);
    ++written_;
    return device_.flush(pfn.bytes(), kBlockBytes);
  }

  Journal& journal_;
  device::Device& device_;
  std::uint32_t at_;
  std::uint32_t commit_at_ = 0;
  std::uint64_t written_ = 0;
  std::uint32_t v1_sum_ = ~std::uint32_t{0};
};

Journal::Journal(device::Device& device, JournalArea area, JournalSuper super)
    : device_(device), area_(std::move(area)), super_(std::move(super)) {}

Status Journal::start(const ext2_super_block& volume) {
  HF_CHECK(super_.empty() && !started_, "J7: a log that is in use begins again");
  HF_TRY(area_.reserve(device_));
  super_.adopt_features(volume);
  head_ = super_.first();
  sequence_ = super_.sequence() + 1;
  // Still empty: that there is a log is said by the first checkpoint, when the volume's superblock is home.
  HF_TRY(super_.write_adopted(device_, area_));
  HF_MARK("ext4.journal.adopted");
  started_ = true;
  return {};
}

std::uint64_t Journal::blocks_for(std::uint64_t changed, std::uint64_t revoked) const {
  const LogShape& shape = super_.shape();
  return parts(revoked, shape.revokes_per_block()) + parts(changed, shape.tags_per_block()) + changed + 1;
}

Status Journal::commit(BlockCache& cache) {
  HF_CHECK(started_, "a commit into a log that was not begun");
  HF_ASSIGN(const std::span<CachedBlock* const> blocks, cache.seal_dirty());
  const std::vector<BlockNumber> revokes = cache.revoked();
  const std::uint64_t needed = blocks_for(blocks.size(), revokes.size());
  // Credits that were too few are no reason to end the program: nothing is written any more, and what was committed is
  // there at the next mount.
  if (needed > room()) {
    return Error(EIO, device_.name(), fmt::format("J5: a transaction needs {} log blocks, {} are free", needed, room()),
                 "mount it again, and report this");
  }
  for (const CachedBlock* const block : blocks) HF_TRY(device_.reserve(Pfn(block->number), PageCount(1)));
  Writer writer(*this);
  HF_TRY(writer.revokes(revokes));
  HF_TRY(writer.copies(blocks));
  HF_TRY(writer.room_for_commit());
  HF_TRY(device_.fence());
  HF_MARK("ext4.journal.logged");
  HF_TRY(writer.commit_block());
  HF_TRY(device_.fence());
  HF_MARK("ext4.journal.committed");
  HF_TRACE2(journal_commit, sequence_, blocks.size());
  head_ = writer.at();
  used_ += writer.written();
  ++sequence_;
  cache.changes_are_logged();
  return {};
}

bool Journal::wants_checkpoint(const BlockCache& cache) const {
  return used_ > capacity() / 2 || cache.logged_blocks() > kLoggedMax;
}

Status Journal::checkpoint(BlockCache& cache) {
  if (used_ == 0) return {};
  HF_TRY(cache.write_logged_home());
  HF_TRY(device_.fence());
  HF_MARK("ext4.journal.home");
  super_.set_log(head_, sequence_);
  HF_TRY(super_.write(device_, area_));
  HF_TRY(device_.fence());
  HF_MARK("ext4.journal.checkpointed");
  cache.logged_are_home();
  used_ = 0;
  return {};
}

Status Journal::stop() {
  HF_CHECK(used_ == 0, "J7: the log is in use");
  super_.set_log(0, sequence_);
  HF_TRY(super_.write(device_, area_));
  HF_TRY(device_.fence());
  started_ = false;
  return {};
}

}  // namespace holdfast::ext4
