#include "ext4/journal_block.h"

#include <cstring>

#include "base/check.h"
#include "base/crc32c.h"

namespace holdfast::ext4 {
namespace {

template <typename Words>
Words* words_at(std::byte* block, std::size_t offset = 0) {
  return reinterpret_cast<Words*>(block + offset);
}
template <typename Words>
const Words* words_at(const std::byte* block, std::size_t offset = 0) {
  return reinterpret_cast<const Words*>(block + offset);
}

void begin(LogBlock& block, LogBlockType type, std::uint32_t sequence) {
  block.fill(std::byte{0});
  auto* const header = words_at<LogHeader>(block.data());
  header->magic = kJournalMagic;
  header->type = static_cast<std::uint32_t>(type);
  header->sequence = sequence;
}

constexpr std::size_t kTail = kBlockBytes - sizeof(Be32);

void seal(const LogShape& shape, LogBlock& block) {
  if (!shape.has_crc32c()) return;
  *words_at<Be32>(block.data(), kTail) = 0;
  *words_at<Be32>(block.data(), kTail) = crc32c(shape.seed, block.data(), block.size());
}

std::uint32_t commit_checksum(const LogShape& shape, LogBlock block) {
  words_at<CommitWords>(block.data())->checksum[0] = 0;
  return crc32c(shape.seed, block.data(), block.size());
}

}  // namespace

std::optional<LogBlockType> type_of(const LogBlock& block, std::uint32_t sequence) {
  const auto* const header = words_at<LogHeader>(block.data());
  if (header->magic.value() != kJournalMagic || header->sequence.value() != sequence) return std::nullopt;
  switch (const auto type = static_cast<LogBlockType>(header->type.value())) {
    case LogBlockType::descriptor:
    case LogBlockType::commit:
    case LogBlockType::revoke:
      return type;
    default:
      return std::nullopt;
  }
}

bool must_escape(const std::byte* data) { return words_at<Be32>(data)->value() == kJournalMagic; }
void escape(std::byte* data) { *words_at<Be32>(data) = 0; }
void unescape(std::byte* data) { *words_at<Be32>(data) = kJournalMagic; }

std::uint32_t copy_checksum(const LogShape& shape, std::uint32_t sequence, const std::byte* data) {
  const Be32 word(sequence);
  return crc32c(crc32c(shape.seed, &word, sizeof(word)), data, kBlockBytes);
}

bool copy_verifies(const LogShape& shape, std::uint32_t sequence, const Tag& tag, const std::byte* data) {
  switch (shape.checksum) {
    case LogChecksum::v3:
      return copy_checksum(shape, sequence, data) == tag.checksum;
    case LogChecksum::v2:
      return (copy_checksum(shape, sequence, data) & 0xffffu) == tag.checksum;
    case LogChecksum::v1:
    case LogChecksum::none:
      return true;
  }
  return true;
}

std::uint32_t add_to_v1(std::uint32_t sum, const std::byte* block) {
  return ext2fs_crc32_be(sum, reinterpret_cast<const unsigned char*>(block), kBlockBytes);
}

void make_descriptor(const LogShape& shape, std::uint32_t sequence, const std::array<std::uint8_t, 16>& uuid,
                     std::span<const Tag> tags, LogBlock& block) {
  HF_DEBUG_CHECK(!tags.empty() && tags.size() <= shape.tags_per_block(), "{} tags in a descriptor", tags.size());
  begin(block, LogBlockType::descriptor, sequence);
  std::size_t at = sizeof(LogHeader);
  for (const Tag& tag : tags) {
    const bool first = &tag == &tags.front();
    const std::uint32_t flags =
        (tag.escaped ? kTagEscaped : 0) | (first ? 0 : kTagSameUuid) | (&tag == &tags.back() ? kTagLast : 0);
    const auto low = static_cast<std::uint32_t>(tag.home);
    const auto high = static_cast<std::uint32_t>(tag.home >> 32);
    if (shape.checksum == LogChecksum::v3) {
      auto* const words = words_at<TagV3>(block.data(), at);
      words->block = low;
      words->flags = flags;
      words->block_high = shape.wide ? high : 0;
      words->checksum = tag.checksum;
    } else {
      auto* const words = words_at<TagV2>(block.data(), at);
      words->block = low;
      words->checksum = static_cast<std::uint16_t>(tag.checksum);
      words->flags = static_cast<std::uint16_t>(flags);
      if (shape.wide) words->block_high = high;
    }
    at += shape.tag_bytes();
    if (first) {
      std::memcpy(block.data() + at, uuid.data(), uuid.size());
      at += kTagUuidBytes;
    }
  }
  seal(shape, block);
}

std::vector<Tag> read_descriptor(const LogShape& shape, const LogBlock& block) {
  std::vector<Tag> tags;
  const std::size_t end = shape.end_of_contents();
  for (std::size_t at = sizeof(LogHeader); at + shape.tag_bytes() <= end;) {
    Tag tag;
    std::uint32_t flags = 0;
    if (shape.checksum == LogChecksum::v3) {
      const auto* const words = words_at<TagV3>(block.data(), at);
      tag.home = words->block.value() | (shape.wide ? std::uint64_t{words->block_high.value()} << 32 : 0);
      flags = words->flags.value();
      tag.checksum = words->checksum.value();
    } else {
      const auto* const words = words_at<TagV2>(block.data(), at);
      tag.home = words->block.value() | (shape.wide ? std::uint64_t{words->block_high.value()} << 32 : 0);
      flags = words->flags.value();
      tag.checksum = words->checksum.value();
    }
    tag.escaped = (flags & kTagEscaped) != 0;
    tags.push_back(tag);
    at += shape.tag_bytes() + ((flags & kTagSameUuid) != 0 ? 0 : kTagUuidBytes);
    if ((flags & kTagLast) != 0) break;
  }
  return tags;
}

void make_revokes(const LogShape& shape, std::uint32_t sequence, std::span<const BlockNumber> homes, LogBlock& block) {
  HF_DEBUG_CHECK(homes.size() <= shape.revokes_per_block(), "{} revokes in a block", homes.size());
  begin(block, LogBlockType::revoke, sequence);
  std::size_t at = sizeof(RevokeHeader);
  for (const BlockNumber home : homes) {
    if (shape.wide) {
      *words_at<Be64>(block.data(), at) = home;
    } else {
      *words_at<Be32>(block.data(), at) = static_cast<std::uint32_t>(home);
    }
    at += shape.revoke_bytes();
  }
  words_at<RevokeHeader>(block.data())->bytes = static_cast<std::uint32_t>(at);
  seal(shape, block);
}

std::optional<std::vector<BlockNumber>> read_revokes(const LogShape& shape, const LogBlock& block) {
  const std::size_t end = words_at<RevokeHeader>(block.data())->bytes.value();
  if (end > shape.end_of_contents()) return std::nullopt;
  std::vector<BlockNumber> homes;
  for (std::size_t at = sizeof(RevokeHeader); at + shape.revoke_bytes() <= end; at += shape.revoke_bytes()) {
    homes.push_back(shape.wide ? words_at<Be64>(block.data(), at)->value() : words_at<Be32>(block.data(), at)->value());
  }
  return homes;
}

bool block_verifies(const LogShape& shape, const LogBlock& block) {
  if (!shape.has_crc32c()) return true;
  const std::uint32_t zero = 0;
  const std::uint32_t sum = crc32c(crc32c(shape.seed, block.data(), kTail), &zero, sizeof(zero));
  return words_at<Be32>(block.data(), kTail)->value() == sum;
}

void make_commit(const LogShape& shape, std::uint32_t sequence, FileTime time, std::uint32_t v1_sum, LogBlock& block) {
  begin(block, LogBlockType::commit, sequence);
  auto* const words = words_at<CommitWords>(block.data());
  words->seconds_high = static_cast<std::uint32_t>(static_cast<std::uint64_t>(time.seconds) >> 32);
  words->seconds_low = static_cast<std::uint32_t>(time.seconds);
  words->nanoseconds = time.nanoseconds;
  if (shape.checksum == LogChecksum::v1) {
    words->checksum_type = kJournalCrc32;
    words->checksum_bytes = kJournalCrc32Bytes;
    words->checksum[0] = v1_sum;
  } else if (shape.has_crc32c()) {
    words->checksum[0] = commit_checksum(shape, block);
  }
}

bool commit_verifies(const LogShape& shape, const LogBlock& block, std::uint32_t v1_sum) {
  const auto* const words = words_at<CommitWords>(block.data());
  if (shape.has_crc32c()) return words->checksum[0].value() == commit_checksum(shape, block);
  if (shape.checksum == LogChecksum::none) return true;
  // A commit without any checksum is one from before the feature was set.
  const bool none = words->checksum_type == 0 && words->checksum_bytes == 0 && words->checksum[0].value() == 0;
  return none || (words->checksum_type == kJournalCrc32 && words->checksum_bytes == kJournalCrc32Bytes &&
                  words->checksum[0].value() == v1_sum);
}

FileTime commit_time(const LogBlock& block) {
  const auto* const words = words_at<CommitWords>(block.data());
  FileTime time;
  time.seconds =
      static_cast<std::int64_t>(std::uint64_t{words->seconds_high.value()} << 32 | words->seconds_low.value());
  time.nanoseconds = words->nanoseconds.value();
  return time;
}

}  // namespace holdfast::ext4
