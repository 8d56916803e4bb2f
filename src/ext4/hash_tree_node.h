// Layout of the nodes of a directory's index. Each looks like a block without names to one who does not know of it.
#pragma once

#include <cstdint>

#include "ext4/dir_block.h"

namespace holdfast::ext4 {

// A free record as long as the block, then the entries; with checksums, eight bytes at the end for them.
inline constexpr std::uint32_t kNodeEntriesAt = 8;

// `.` and `..`, the latter's record reaching to the end of the block, then RootInfo, then the entries.
inline constexpr std::uint32_t kDotAt = 0;
inline constexpr std::uint32_t kDotDotAt = kRecordBytesMin;
inline constexpr std::uint32_t kRootInfoAt = 2 * kRecordBytesMin;
struct RootInfo {
  std::uint32_t reserved;  // 0
  std::uint8_t hash_version;
  std::uint8_t bytes;   // of this structure
  std::uint8_t levels;  // of nodes between root and leaves
  std::uint8_t flags;   // 0
};
static_assert(sizeof(RootInfo) == 8);
inline constexpr std::uint32_t kRootEntriesAt = kRootInfoAt + sizeof(RootInfo);

struct CountLimit {
  std::uint16_t limit;
  std::uint16_t count;
};

constexpr std::uint32_t index_entries_max(std::uint32_t entries_at, bool checksums) {
  return (4096 - entries_at - (checksums ? 8 : 0)) / 8;
}

}  // namespace holdfast::ext4
