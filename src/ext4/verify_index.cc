#include "ext4/verify_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ext4/hash_tree.h"
#include "ext4/hash_tree_node.h"

namespace holdfast::ext4 {

void IndexVerifier::problem(std::uint32_t block, const char* what) {
  verifying_.problem(directory_.inode, fmt::format("block {} of its index: {}", block, what));
}

void IndexVerifier::saw_name(std::uint32_t block, std::uint32_t major) {
  blocks_[block].lowest = std::min(blocks_[block].lowest, major);
  blocks_[block].highest = std::max(blocks_[block].highest, major);
}

void IndexVerifier::saw_root(const std::byte* bytes) {
  RootInfo info;
  std::memcpy(&info, bytes + kRootInfoAt, sizeof info);
  depth_ = info.levels + 1U;
  Block& root = blocks_[0];
  root.kind = Kind::root;
  root.first = root.last = true;
  ++root.named;
  saw_entries(0, bytes, kRootEntriesAt);
}

void IndexVerifier::saw_node(std::uint32_t block, const std::byte* bytes) {
  blocks_[block].kind = Kind::node;
  saw_entries(block, bytes, kNodeEntriesAt);
}

void IndexVerifier::saw_entries(std::uint32_t block, const std::byte* bytes, std::uint32_t at) {
  CountLimit counts;
  std::memcpy(&counts, bytes + at, sizeof counts);
  const std::uint32_t limit = index_entries_max(at, verifying_.geometry().metadata_checksums);
  if (counts.limit != limit || counts.count > limit) return problem(block, "impossible count or limit");
  const auto entry = [bytes, at](std::uint32_t index) {
    IndexEntry value;
    std::memcpy(&value, bytes + at + index * sizeof value, sizeof value);
    // The lowest bit of a key says that names of one hash go on, and where the key of the first would be is the count.
    value.key = index == 0 ? 0 : value.key & ~1U;
    value.block &= EXT4_DX_BLOCK_MASK;
    return value;
  };
  Block& here = blocks_[block];
  std::uint32_t lowest = ~std::uint32_t{0};
  std::uint32_t highest = 0;
  std::uint32_t before = 0;
  for (std::uint32_t i = 0; i < counts.count; ++i) {
    const IndexEntry named = entry(i);
    if (named.block >= blocks_.size()) {
      problem(block, "an entry names a block that there is not");
      continue;
    }
    if (named.key < before) problem(block, "keys out of order");
    before = named.key;
    Block& child = blocks_[named.block];
    if (child.named++ == 0) child.parent = block;
    child.previous = i == 0 ? 0 : entry(i - 1).block;
    child.first = child.first || i == 0;
    child.last = child.last || i + 1 == counts.count;
    child.from = named.key;
    child.to = i + 1 < counts.count ? entry(i + 1).key : ~std::uint32_t{1};
    lowest = std::min(lowest, named.key);
    highest = std::max(highest, named.key);
  }
  here.lowest = lowest;
  here.highest = highest;
}

// The outermost hashes of a kind of blocks become those of their parents.
void IndexVerifier::hand_up(Kind kind) {
  for (const Block& block : blocks_) {
    if (block.kind != kind) continue;
    Block& parent = blocks_[block.parent];
    if (block.first) {
      parent.lowest = block.lowest;
      if (parent.previous != 0 && parent.previous < blocks_.size()) blocks_[parent.previous].to = parent.lowest;
    }
    if (block.last) parent.highest = block.highest;
  }
}

std::uint32_t IndexVerifier::depth_of(std::uint32_t block) const {
  std::uint32_t depth = 0;
  while (blocks_[block].kind != Kind::root && depth <= kIndexLevelsMax) {
    block = blocks_[block].parent;
    ++depth;
  }
  return depth;
}

void IndexVerifier::judge() {
  hand_up(Kind::leaf);
  hand_up(Kind::node);
  for (std::uint32_t number = 0; number < blocks_.size(); ++number) {
    const Block& block = blocks_[number];
    if (!block.first && block.lowest < block.from) problem(number, "a name that belongs before it");
    if (number != 0 && block.highest > block.to) problem(number, "a name that belongs behind it");
    if (block.kind == Kind::leaf && depth_of(number) != depth_) problem(number, "a leaf at another depth");
    if (block.named == 0) problem(number, "nothing leads to it");
    if (block.named > 1) problem(number, "it is named twice");
  }
}

}  // namespace holdfast::ext4
