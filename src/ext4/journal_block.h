// The blocks of a transaction, written and read: descriptors with their tags, revoke blocks, the commit block.
//
// Every reader takes a block as it lies in the log and believes nothing of it: counts are bounded by the block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "ext4/journal_super.h"
#include "ext4/journal_words.h"

namespace holdfast::ext4 {

using LogBlock = std::array<std::byte, kBlockBytes>;

struct Tag {
  BlockNumber home = 0;
  bool escaped = false;
  std::uint32_t checksum = 0;  // v2: its low 16 bits
};

// The type of a block of that transaction; nothing when it is none.
std::optional<LogBlockType> type_of(const LogBlock& block, std::uint32_t sequence);

// Whether the first word is the journal's magic, so that the copy in the log must not begin with it.
bool must_escape(const std::byte* data);
void escape(std::byte* data);
void unescape(std::byte* data);

// Of a copy as it lies in the log (escaped).
std::uint32_t copy_checksum(const LogShape& shape, std::uint32_t sequence, const std::byte* data);
// Whether the tag's checksum agrees; true where tags have none.
bool copy_verifies(const LogShape& shape, std::uint32_t sequence, const Tag& tag, const std::byte* data);
// The running checksum of v1.
std::uint32_t add_to_v1(std::uint32_t sum, const std::byte* block);

// Precondition: at most tags_per_block().
void make_descriptor(const LogShape& shape, std::uint32_t sequence, const std::array<std::uint8_t, 16>& uuid,
                     std::span<const Tag> tags, LogBlock& block);
std::vector<Tag> read_descriptor(const LogShape& shape, const LogBlock& block);

// Precondition: at most revokes_per_block().
void make_revokes(const LogShape& shape, std::uint32_t sequence, std::span<const BlockNumber> homes, LogBlock& block);
// Nothing: it says more than it holds.
std::optional<std::vector<BlockNumber>> read_revokes(const LogShape& shape, const LogBlock& block);

// Of a descriptor or revoke block.
bool block_verifies(const LogShape& shape, const LogBlock& block);

void make_commit(const LogShape& shape, std::uint32_t sequence, FileTime time, std::uint32_t v1_sum, LogBlock& block);
bool commit_verifies(const LogShape& shape, const LogBlock& block, std::uint32_t v1_sum);
FileTime commit_time(const LogBlock& block);

}  // namespace holdfast::ext4
