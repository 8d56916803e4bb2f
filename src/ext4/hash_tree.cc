#include "ext4/hash_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ext4/hash_tree_node.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kBlockMask = EXT4_DX_BLOCK_MASK;

template <typename T>
T load(const BlockRef& block, std::uint32_t at) {
  T value;
  std::memcpy(&value, block.data() + at, sizeof value);
  return value;
}

}  // namespace

Result<HashTree> HashTree::open(DirectoryFile& directory) {
  HashTree tree(directory);
  HF_TRY(tree.open_root());
  return tree;
}

Status HashTree::open_root() {
  Level& root = levels_[0];
  HF_ASSIGN(root.node, directory_->read(0, BlockKind::hash_tree_node));
  const auto dot = load<RecordHeader>(root.node, kDotAt);
  const auto dot_dot = load<RecordHeader>(root.node, kDotDotAt);
  if (dot.bytes != kRecordBytesMin || dot.name_bytes != 1 || dot_dot.bytes != kBlockBytes - kDotDotAt ||
      dot_dot.name_bytes != 2) {
    return directory_->damaged(0, "the root of the index does not begin with `.` and `..`");
  }
  const auto info = load<RootInfo>(root.node, kRootInfoAt);
  if (info.reserved != 0 || info.bytes != sizeof(RootInfo) || (info.flags & EXT2_HASH_FLAG_INCOMPAT) != 0) {
    return directory_->damaged(0, "the root of the index has no valid head");
  }
  if (info.hash_version > EXT2_HASH_TEA) {
    return Error(EOPNOTSUPP, fmt::format("directory inode {}", raw(directory_->inode())),
                 fmt::format("its index uses hash {}, which is not known", info.hash_version));
  }
  function_ = directory_->hash_function(static_cast<HashVersion>(info.hash_version));
  depth_ = info.levels + 1u;
  if (depth_ > directory_->index_levels_max()) {
    return directory_->damaged(
        0, fmt::format("an index of {} levels; {} are possible here", depth_, directory_->index_levels_max()));
  }
  root.entries = kRootEntriesAt;
  return read_counts(root);
}

Status HashTree::read_counts(Level& level) const {
  const auto counts = load<CountLimit>(level.node, level.entries);
  level.count = counts.count;
  level.limit = counts.limit;
  const std::uint32_t limit = index_entries_max(level.entries, directory_->has_checksums());
  if (level.limit != limit || level.count == 0 || level.count > limit) {
    return directory_->damaged(level.block, fmt::format("an index node with count {} and limit {}; its size gives {}",
                                                        level.count, level.limit, limit));
  }
  return {};
}

Status HashTree::descend(std::uint32_t major) {
  steps_ = 0;
  return go_down(0, Way::by_hash, major);
}

Result<bool> HashTree::next() {
  // Leaves are blocks of the directory, each of them named once.
  if (++steps_ > directory_->blocks()) {
    return directory_->damaged(levels_[0].block, "the index has more leaves than the directory has blocks");
  }
  for (std::uint32_t index = depth_; index-- > 0;) {
    Level& level = levels_[index];
    if (level.at + 1 == level.count) continue;
    ++level.at;
    HF_TRY(go_down(index, Way::first, 0));
    return true;
  }
  return false;
}

// From a level to a leaf. `by_hash` looks for the hash from this level on; `first` follows the level's own `at` and the
// first entries below it.
Status HashTree::go_down(std::uint32_t from, Way way, std::uint32_t major) {
  for (std::uint32_t index = from;; ++index) {
    Level& level = levels_[index];
    const IndexEntry* const entries = level.all();
    if (way == Way::by_hash) {
      // The last entry whose key is not above the hash; the first one has no key.
      const IndexEntry* const above =
          std::upper_bound(entries + 1, entries + level.count, major,
                           [](std::uint32_t hash, const IndexEntry& e) { return hash < e.key; });
      level.at = static_cast<std::uint32_t>(above - entries) - 1;
    } else if (index != from) {
      level.at = 0;
    }
    const std::uint32_t low = level.at == 0 ? level.low : entries[level.at].key;
    const std::uint64_t high = level.at + 1 == level.count ? level.high : entries[level.at + 1].key;
    const std::uint32_t before = level.at < 2 ? level.low : entries[level.at - 1].key;
    if (before < level.low || low < before || high < low || high > level.high) {
      return directory_->damaged(level.block, fmt::format("index keys out of order at entry {}", level.at));
    }
    const std::uint32_t block = entries[level.at].block & kBlockMask;
    bool possible = block != 0 && block < directory_->blocks();
    for (std::uint32_t above = 0; above <= index; ++above) possible = possible && levels_[above].block != block;
    if (!possible) {
      return directory_->damaged(level.block, fmt::format("index entry {} names block {}", level.at, block));
    }
    if (index + 1 == depth_) {
      leaf_ = block;
      low_ = low;
      high_ = high;
      return {};
    }
    HF_TRY(enter(index + 1, block, low, high));
  }
}

Status HashTree::enter(std::uint32_t index, std::uint32_t block, std::uint32_t low, std::uint64_t high) {
  Level& level = levels_[index];
  level.block = block;
  level.low = low;
  level.high = high;
  level.entries = kNodeEntriesAt;
  HF_ASSIGN(level.node, directory_->read(block, BlockKind::hash_tree_node));
  const auto head = load<RecordHeader>(level.node, 0);
  if (head.inode != 0 || head.bytes != kBlockBytes || head.name_bytes != 0) {
    return directory_->damaged(block, "an index node that does not look like one");
  }
  return read_counts(level);
}

}  // namespace holdfast::ext4
