// The index of a directory, put together from its blocks in any order, and judged when all were seen.
//
// Each block is a leaf, a node or the root; a node names blocks and gives each a range of hashes. Afterwards every
// block but the root must have been named once, leaves at one depth, and every name be in the range that its leaf was
// given.
#pragma once

#include <cstdint>
#include <vector>

#include "ext4/verify_state.h"

namespace holdfast::ext4 {

class IndexVerifier {
 public:
  IndexVerifier(Verifying& verifying, const FoundDirectory& directory)
      : verifying_(verifying), directory_(directory), blocks_(directory.blocks) {}

  // A name in a leaf.
  void saw_name(std::uint32_t block, std::uint32_t major);
  // The root's head, of a block 0 that was read whole.
  void saw_root(const std::byte* bytes);
  void saw_node(std::uint32_t block, const std::byte* bytes);
  void judge();

  std::uint32_t depth() const { return depth_; }

 private:
  enum class Kind : std::uint8_t { leaf, node, root };
  struct Block {
    Kind kind = Kind::leaf;
    bool first = false;  // of its parent, and so without a lower bound of its own
    bool last = false;
    std::uint32_t named = 0;  // how often
    std::uint32_t parent = 0;
    std::uint32_t previous = 0;  // the one before it in its parent; 0: none
    // Hashes that were found there, or below.
    std::uint32_t lowest = ~std::uint32_t{0};
    std::uint32_t highest = 0;
    // Hashes that its parent says belong there.
    std::uint32_t from = 0;
    std::uint32_t to = 0;
  };

  void problem(std::uint32_t block, const char* what);
  void saw_entries(std::uint32_t block, const std::byte* bytes, std::uint32_t at);
  void hand_up(Kind kind);
  std::uint32_t depth_of(std::uint32_t block) const;

  Verifying& verifying_;
  const FoundDirectory& directory_;
  std::vector<Block> blocks_;
  std::uint32_t depth_ = 0;  // of the leaves
};

}  // namespace holdfast::ext4
