// The index of a directory: a tree of fixed depth whose leaves are blocks of records.
//
// Block 0 is the root. An entry of a node is a key and a block; the names whose major hash is at least the key and
// below the next key are under that block, and the first entry of a node takes all that is below the second key. A key
// with its lowest bit set says that the leaf in front of it ends amid the names of one hash.
//
// Every node is checked when it is entered: its head, count and limit, the keys next to the way taken (they lie inside
// the range of the node, so that a walk from key to key always makes progress), its block (inside the directory, not
// yet on the way down). The depth is bounded, and so is the number of leaves a walk may see: nothing loops.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "ext4/directory_file.h"

namespace holdfast::ext4 {

inline constexpr std::uint32_t kIndexLevelsMax = 3;
inline constexpr std::uint64_t kKeyEnd = std::uint64_t{1} << 32;

// As on the medium. In the first entry of a node, limit and count of the node take the place of the key.
struct IndexEntry {
  std::uint32_t key;
  std::uint32_t block;  // in the low 28 bits
};
static_assert(sizeof(IndexEntry) == 8);

// A place in the tree: a leaf and the way down to it. Refers to the cached nodes; good until the tree changes.
class HashTree {
 public:
  // Reads and checks the root. EUCLEAN. EOPNOTSUPP: a hash that we do not know.
  static Result<HashTree> open(DirectoryFile& directory);

  const HashFunction& function() const { return function_; }

  // To the first leaf that may hold names of the major hash.
  Status descend(std::uint32_t major);
  // To the leaf after this one, or false at the end.
  Result<bool> next();

  std::uint32_t leaf() const { return leaf_; }
  // The first key behind the leaf; kKeyEnd for the last one.
  std::uint64_t high() const { return high_; }
  // Whether names of this hash may be in the leaf.
  bool covers(std::uint32_t major) const { return major >= (low_ & ~1u) && major < high_; }
  // Whether names of this hash may be in the next leaf as well.
  bool continues(std::uint32_t major) const { return (major | 1u) == high_; }

  // How many blocks add_leaf takes. ENOSPC: every node is full and the tree may not become deeper.
  Result<std::uint32_t> nodes_to_add_leaf() const;
  // Enters a leaf behind the present one, splitting full nodes on the way. The place is no longer good then.
  // Precondition: nodes_to_add_leaf() blocks are reserved. A failure has changed nothing.
  Status add_leaf(std::uint32_t key, std::uint32_t block);

  // Writes a root with one leaf into block 0. Precondition: nobody refers to block 0.
  static Status make_root(DirectoryFile& directory, InodeNumber parent, std::uint32_t leaf);

 private:
  struct Level {
    BlockRef node;
    std::uint32_t block = 0;    // of the directory
    std::uint32_t entries = 0;  // where in the node the first entry is
    std::uint32_t count = 0;
    std::uint32_t limit = 0;
    std::uint32_t at = 0;  // the entry taken
    std::uint32_t low = 0;
    std::uint64_t high = kKeyEnd;

    const IndexEntry* all() const { return node.as<IndexEntry>(entries); }
    bool full() const { return count == limit; }
  };
  enum class Way : std::uint8_t { by_hash, first };

  explicit HashTree(DirectoryFile& directory) : directory_(&directory) {}
  Status open_root();
  Status read_counts(Level& level) const;
  Status go_down(std::uint32_t from, Way way, std::uint32_t major);
  Status enter(std::uint32_t index, std::uint32_t block, std::uint32_t low, std::uint64_t high);

  std::uint32_t full_levels() const;
  void deepen(std::uint32_t block, BlockRef node);
  void split(std::uint32_t index, std::uint32_t block, BlockRef node);
  void insert(Level& level, std::uint32_t position, IndexEntry entry);
  void set_count(Level& level, std::uint32_t count);

  DirectoryFile* directory_;
  HashFunction function_;
  std::array<Level, kIndexLevelsMax> levels_;
  std::uint32_t depth_ = 0;  // levels in use
  std::uint32_t steps_ = 0;  // leaves passed since descend
  std::uint32_t leaf_ = 0;
  std::uint32_t low_ = 0;
  std::uint64_t high_ = kKeyEnd;
};

}  // namespace holdfast::ext4
