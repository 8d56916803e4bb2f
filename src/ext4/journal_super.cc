#include "ext4/journal_super.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/fault_point.h"
#include "base/mark.h"
#include "device/copy.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kRingMin = 256;
constexpr std::uint32_t kKnown =
    kJournalRevoke | kJournal64Bit | kJournalAsyncCommit | kJournalChecksumV2 | kJournalChecksumV3;

std::uint32_t checksum_of(JournalSuperWords words) {
  words.checksum = 0;
  return crc32c(~std::uint32_t{0}, &words, sizeof(words));
}

Status check_features(const JournalSuperWords& words, const device::Device& device) {
  const std::uint32_t incompatible = words.incompatible.value();
  if ((incompatible & kJournalFastCommit) != 0) {
    return Error(ENOTSUP, device.name(), "the journal has the feature fast_commit, which is not supported",
                 "run e2fsck -p, then tune2fs -O ^fast_commit");
  }
  if (const std::uint32_t other = incompatible & ~kKnown; other != 0) {
    return Error(ENOTSUP, device.name(), fmt::format("the journal has unknown feature bits {:#x}", other),
                 "tune2fs -O ^has_journal after a recovery with the tools that made it");
  }
  if ((incompatible & kJournalChecksumV2) != 0 && (incompatible & kJournalChecksumV3) != 0) {
    return journal_damaged(device, "it claims two kinds of checksum at once");
  }
  if (words.read_only_compatible.value() != 0) {
    return Error(ENOTSUP, device.name(),
                 fmt::format("the journal has unknown features {:#x}", words.read_only_compatible.value()),
                 "use the tools that made it");
  }
  return {};
}

}  // namespace

void JournalSuper::read_shape() {
  const std::uint32_t incompatible = words_.incompatible.value();
  shape_.wide = (incompatible & kJournal64Bit) != 0;
  shape_.checksum = (incompatible & kJournalChecksumV3) != 0                ? LogChecksum::v3
                    : (incompatible & kJournalChecksumV2) != 0              ? LogChecksum::v2
                    : (words_.compatible.value() & kJournalChecksumV1) != 0 ? LogChecksum::v1
                                                                            : LogChecksum::none;
  shape_.seed = crc32c(~std::uint32_t{0}, words_.uuid.data(), words_.uuid.size());
}

Result<JournalSuper> JournalSuper::read(device::Device& device, const JournalArea& area) {
  JournalSuper super;
  JournalSuperWords& words = super.words_;
  if (device::copy(&words, device.at(Pfn(area.at(0))), sizeof(words)) != device::CopyOutcome::done) {
    return Error(EIO, device.name(), "reading the journal's superblock failed");
  }
  const std::uint32_t type = words.header.type.value();
  if (words.header.magic.value() != kJournalMagic ||
      (type != static_cast<std::uint32_t>(LogBlockType::superblock_v1) &&
       type != static_cast<std::uint32_t>(LogBlockType::superblock_v2))) {
    return journal_damaged(device, "its superblock has no magic");
  }
  if (type == static_cast<std::uint32_t>(LogBlockType::superblock_v1)) {
    // What lies behind the first words means nothing there. A mount for writing makes it a superblock of version 2.
    std::memset(reinterpret_cast<std::byte*>(&words) + offsetof(JournalSuperWords, compatible), 0,
                sizeof(words) - offsetof(JournalSuperWords, compatible));
    words.header.type = static_cast<std::uint32_t>(LogBlockType::superblock_v2);
    words.users = 1;
  }
  if (words.block_bytes.value() != kBlockBytes) {
    return journal_damaged(device, fmt::format("it has blocks of {} bytes", words.block_bytes.value()));
  }
  if (words.blocks.value() > area.blocks() || words.first.value() == 0 ||
      words.first.value() + std::uint64_t{kRingMin} > words.blocks.value()) {
    return journal_damaged(device, fmt::format("a ring from {} to {} in {} blocks", words.first.value(),
                                               words.blocks.value(), area.blocks()));
  }
  if (words.start.value() != 0 &&
      (words.start.value() < words.first.value() || words.start.value() >= words.blocks.value())) {
    return journal_damaged(device, fmt::format("its log begins at block {}", words.start.value()));
  }
  HF_TRY(check_features(words, device));
  if ((words.incompatible.value() & kJournalAsyncCommit) != 0 && words.start.value() != 0) {
    // Their commit blocks do not wait for what they commit: where such a log ends is for those to say who wrote it.
    return Error(ENOTSUP, device.name(), "the journal has the feature async_commit, and its log holds something",
                 "run e2fsck -p, and mount it again");
  }
  if (words.error.value() != 0) {
    return journal_damaged(device, fmt::format("it records error {}", static_cast<std::int32_t>(words.error.value())));
  }
  super.read_shape();
  if (super.shape_.has_crc32c()) {
    // Features that others adopt reach the medium in any order with the rest. Nothing can have been logged then.
    if (words.checksum_type == 0 && super.empty()) words.checksum_type = kJournalCrc32c;
    if (words.checksum_type != kJournalCrc32c) {
      return journal_damaged(device, fmt::format("checksum type {} is unknown", words.checksum_type));
    }
    super.torn_ = words.checksum.value() != checksum_of(words);
  }
  return super;
}

JournalSuper JournalSuper::make(std::uint32_t blocks, std::uint32_t sequence, const std::uint8_t (&uuid)[16]) {
  JournalSuper super;
  JournalSuperWords& words = super.words_;
  words.header.magic = kJournalMagic;
  words.header.type = static_cast<std::uint32_t>(LogBlockType::superblock_v2);
  words.block_bytes = static_cast<std::uint32_t>(kBlockBytes);
  words.blocks = blocks;
  words.first = 1;
  words.sequence = sequence;
  words.users = 1;
  words.incompatible = kJournalRevoke | kJournal64Bit | kJournalChecksumV3;
  words.checksum_type = kJournalCrc32c;
  std::memcpy(words.uuid.data(), uuid, sizeof(uuid));
  super.read_shape();
  return super;
}

void JournalSuper::adopt_features(const ext2_super_block& super) {
  std::uint32_t incompatible = words_.incompatible.value() | kJournalRevoke;
  const bool checksums = (super.s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_METADATA_CSUM) != 0;
  if (checksums && shape_.checksum == LogChecksum::none) {
    incompatible |= kJournalChecksumV3;
    words_.checksum_type = kJournalCrc32c;
  }
  if ((super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0) incompatible |= kJournal64Bit;
  // Asynchronous commits are the reader's affair only: ours wait for the log before their commit block.
  words_.incompatible = incompatible & ~kJournalAsyncCommit;
  read_shape();
}

Status JournalSuper::write_adopted(device::Device& device, const JournalArea& area) {
  constexpr std::size_t kLine = 64;
  static_assert(offsetof(JournalSuperWords, incompatible) < kLine &&
                offsetof(JournalSuperWords, checksum_type) >= kLine);
  const JournalSuperWords words = sealed();
  const Pfn home(area.at(0));
  JournalSuperWords there{};
  if (device::copy(&there, device.at(home), sizeof(there)) != device::CopyOutcome::done) {
    return Error(EIO, device.name(), "reading the journal's superblock failed");
  }
  const auto* const bytes = reinterpret_cast<const std::byte*>(&words);
  if (std::memcmp(bytes + kLine, reinterpret_cast<const std::byte*>(&there) + kLine, sizeof(words) - kLine) != 0) {
    if (device::copy(device.at(home) + kLine, bytes + kLine, sizeof(words) - kLine) != device::CopyOutcome::done) {
      return Error(EIO, device.name(), "writing the journal's superblock failed");
    }
    HF_TRY(device.flush(home.bytes(), sizeof(words)));
    HF_TRY(device.fence());
    HF_MARK("ext4.journal.adopting");
  }
  HF_TRY(write(device, area));
  return device.fence();
}

JournalSuperWords JournalSuper::sealed() const {
  JournalSuperWords words = words_;
  words.checksum = shape_.has_crc32c() ? checksum_of(words) : 0;
  return words;
}

Status JournalSuper::write(device::Device& device, const JournalArea& area) {
  const JournalSuperWords words = sealed();
  const Pfn home(area.at(0));
  if (HF_FAULT_POINT("ext4.journal.superblock") ||
      device::copy(device.at(home), &words, sizeof(words)) != device::CopyOutcome::done) {
    return Error(EIO, device.name(), "writing the journal's superblock failed");
  }
  torn_ = false;
  return device.flush(home.bytes(), sizeof(words));
}

}  // namespace holdfast::ext4
