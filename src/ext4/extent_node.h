// One node of an extent tree as it lies on the medium, and its checks.
//
// A tree is a root of four entries inside the inode and below it nodes of one block each. The entries of a leaf map
// runs of file blocks to runs of device blocks; those of an index node name the nodes one level down. Both are 12
// bytes and begin with their key, the first file block they speak of, so that editing moves them without knowing which.
//
// Why this is our own and not libext2fs: ext2fs_extent_insert, _replace and _set_bmap change one entry after another
// and meet ENOSPC or a bad node in the middle of an operation; they split nodes but never join them, and a tree keeps
// its depth until it is empty; a lookup walks the siblings of a level one by one; every step copies a whole block and
// computes its CRC32C in software. Here a change is planned whole, reserved, and then cannot fail (extent_edit.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "ext4/block_cache.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

inline constexpr unsigned kExtentDepthMax = 5;  // 4 * 340^4 leaves hold more records than there are file blocks
inline constexpr std::size_t kRootEntries = 4;
inline constexpr std::size_t kNodeEntries = (kBlockBytes - 12) / 12;  // the checksum takes the last 4 bytes
inline constexpr std::uint64_t kWrittenBlocksMax = 32768;
inline constexpr std::uint64_t kUnwrittenBlocksMax = 32767;
// File blocks are below this: ext4's length of a file is a 32-bit count of blocks.
inline constexpr std::uint64_t kLogicalEnd = 0xffffffff;

// File blocks [logical, end()) lie at device blocks [block, block + count).
struct ExtentRecord {
  std::uint64_t logical = 0;
  BlockNumber block = 0;
  std::uint64_t count = 0;
  bool unwritten = false;

  std::uint64_t end() const { return logical + count; }
  BlockNumber block_at(std::uint64_t at) const { return block + (at - logical); }
};

// An entry of a leaf or of an index node: the key, and what only its kind understands.
struct ExtentEntry {
  std::uint32_t key = 0;
  std::uint32_t low = 0;
  std::uint32_t high = 0;

  bool operator==(const ExtentEntry& other) const = default;
};
static_assert(sizeof(ExtentEntry) == 12);

struct ExtentHeader {
  std::uint16_t magic = 0;
  std::uint16_t entries = 0;
  std::uint16_t capacity = 0;
  std::uint16_t depth = 0;  // levels below this node; 0: a leaf
  std::uint32_t generation = 0;
};
static_assert(sizeof(ExtentHeader) == 12);

ExtentRecord to_record(const ExtentEntry& leaf_entry);
ExtentEntry to_entry(const ExtentRecord& record);
BlockNumber child_block(const ExtentEntry& index_entry);
ExtentEntry index_entry(std::uint32_t key, BlockNumber child);

// The entries of a node whose bytes were checked; valid as long as the bytes are.
using ExtentEntries = std::span<const ExtentEntry>;

// What a node must be: `depth` levels above the leaves (the root says its own), keys in [lower, upper).
struct NodeExpectation {
  unsigned depth = 0;
  std::uint64_t lower = 0;
  std::uint64_t upper = kLogicalEnd;
};

// Depth of the tree. EUCLEAN: the root's header is damaged.
Result<unsigned> root_depth(const Volume& volume, InodeNumber inode, const RawInode& raw);

// The root's entries, checked. EUCLEAN.
Result<ExtentEntries> root_entries(const Volume& volume, InodeNumber inode, const RawInode& raw,
                                   const NodeExpectation& expected);

// Reads the node at `block`, a block that a file may own, into `keep` and checks header and order whole, and with
// clusters above 4 KiB that one cluster of the device stands for one of the file. Where the records point to is checked
// when one is used (ExtentCursor). EUCLEAN, EIO.
Result<ExtentEntries> read_node(Volume& volume, InodeNumber inode, const RawInode& raw, BlockNumber block,
                                const NodeExpectation& expected, BlockRef& keep);

// Writes a node with these entries. Precondition: they fit.
void write_root(RawInode& raw, unsigned depth, ExtentEntries entries);
void write_node(std::byte* bytes, unsigned depth, ExtentEntries entries);

// Position of the entry whose key is the last one not above `logical`; 0 when there is none.
std::size_t position_at(ExtentEntries entries, std::uint64_t logical);
// Position of the first entry whose key is not below `logical`.
std::size_t position_from(ExtentEntries entries, std::uint64_t logical);

}  // namespace holdfast::ext4
