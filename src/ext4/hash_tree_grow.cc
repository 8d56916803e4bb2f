// How an index grows: a root is made, nodes are split, a level is put in.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/trace.h"
#include "ext4/hash_tree.h"
#include "ext4/hash_tree_node.h"

namespace holdfast::ext4 {
namespace {

// An index node without entries.
void begin_node(std::byte* node, bool checksums) {
  const RecordHeader head{0, kBlockBytes, 0, 0};
  std::memcpy(node, &head, sizeof head);
  const CountLimit counts{static_cast<std::uint16_t>(index_entries_max(kNodeEntriesAt, checksums)), 0};
  std::memcpy(node + kNodeEntriesAt, &counts, sizeof counts);
}

}  // namespace

Status HashTree::make_root(DirectoryFile& directory, InodeNumber parent, std::uint32_t leaf) {
  HF_ASSIGN(BlockRef root, directory.fresh(0, BlockKind::hash_tree_node));
  std::byte* const bytes = directory.cache().modify(root);
  const std::uint8_t type = directory.shape().has_types ? EXT2_FT_DIR : 0;
  BlockWriter writer(bytes, BlockShape{kBlockBytes, directory.shape().inodes, false, true});
  writer.add({".", raw(directory.inode()), type});
  writer.add({"..", raw(parent), type});
  writer.finish();
  const RootInfo info{0, static_cast<std::uint8_t>(directory.default_hash_version()), sizeof(RootInfo), 0, 0};
  std::memcpy(bytes + kRootInfoAt, &info, sizeof info);
  const auto limit = static_cast<std::uint16_t>(index_entries_max(kRootEntriesAt, directory.has_checksums()));
  const CountLimit counts{limit, 1};
  std::memcpy(bytes + kRootEntriesAt, &counts, sizeof counts);
  std::memcpy(bytes + kRootEntriesAt + sizeof counts, &leaf, sizeof leaf);
  directory.set_indexed();
  return {};
}

std::uint32_t HashTree::full_levels() const {
  std::uint32_t full = 0;
  while (full < depth_ && levels_[depth_ - 1 - full].full()) ++full;
  return full;
}

Result<std::uint32_t> HashTree::nodes_to_add_leaf() const {
  // A node is split into two; a full root is moved down whole.
  const std::uint32_t full = full_levels();
  if (full == depth_ && depth_ == directory_->index_levels_max()) {
    return Error(ENOSPC, fmt::format("directory inode {}", raw(directory_->inode())),
                 "the index of the directory is full",
                 "the large_dir feature (tune2fs -O large_dir) makes room for more names");
  }
  return full;
}

Status HashTree::add_leaf(std::uint32_t key, std::uint32_t block) {
  const std::uint32_t full = full_levels();
  std::array<std::uint32_t, kIndexLevelsMax> numbers{};
  std::array<BlockRef, kIndexLevelsMax> nodes;
  for (std::uint32_t i = 0; i < full; ++i) {
    numbers[i] = directory_->take_reserved();
    HF_ASSIGN(nodes[i], directory_->fresh(numbers[i], BlockKind::hash_tree_node));
  }
  // From the top, so that the node above always has room for one more entry. A root that moved down has room in its
  // new place, which has a shorter head.
  std::uint32_t used = 0;
  std::uint32_t index = depth_ - full;
  if (full == depth_) {
    deepen(numbers[0], std::move(nodes[0]));
    used = 1;
    index = 2;
  }
  for (; used < full; ++used, ++index) split(index, numbers[used], std::move(nodes[used]));
  Level& bottom = levels_[depth_ - 1];
  insert(bottom, bottom.at + 1, {key, block});
  return {};
}

void HashTree::deepen(std::uint32_t block, BlockRef node) {
  HF_TRACE2(directory_deepen, raw(directory_->inode()), depth_);
  for (std::uint32_t index = depth_; index > 1; --index) levels_[index] = std::move(levels_[index - 1]);
  ++depth_;
  Level& root = levels_[0];
  Level& moved = levels_[1];
  std::byte* const bytes = directory_->cache().modify(node);
  std::memcpy(bytes + kNodeEntriesAt, root.all(), root.count * sizeof(IndexEntry));
  begin_node(bytes, directory_->has_checksums());
  moved = Level{};
  moved.node = std::move(node);
  moved.block = block;
  moved.entries = kNodeEntriesAt;
  moved.limit = index_entries_max(kNodeEntriesAt, directory_->has_checksums());
  moved.at = root.at;
  set_count(moved, root.count);

  std::byte* const root_bytes = directory_->cache().modify(root.node);
  const auto levels = static_cast<std::uint8_t>(depth_ - 1);
  std::memcpy(root_bytes + kRootInfoAt + offsetof(RootInfo, levels), &levels, 1);
  std::memcpy(root_bytes + root.entries + offsetof(IndexEntry, block), &block, sizeof block);
  set_count(root, 1);
}

void HashTree::split(std::uint32_t index, std::uint32_t block, BlockRef node) {
  HF_TRACE2(directory_split_node, raw(directory_->inode()), index);
  Level& level = levels_[index];
  Level& above = levels_[index - 1];
  const std::uint32_t kept = level.count / 2;
  const std::uint32_t moved = level.count - kept;
  const std::uint32_t key = level.all()[kept].key;

  std::byte* const bytes = directory_->cache().modify(node);
  std::memcpy(bytes + kNodeEntriesAt, level.all() + kept, moved * sizeof(IndexEntry));
  begin_node(bytes, directory_->has_checksums());
  set_count(level, kept);
  insert(above, above.at + 1, {key, block});

  Level right;
  right.node = std::move(node);
  right.block = block;
  right.entries = kNodeEntriesAt;
  right.limit = level.limit;
  set_count(right, moved);
  if (level.at >= kept) {
    right.at = level.at - kept;
    level = std::move(right);
  }
}

void HashTree::insert(Level& level, std::uint32_t position, IndexEntry entry) {
  HF_CHECK(level.count < level.limit && position != 0 && position <= level.count, "entry {} of {} in a node of {}",
           position, level.count, level.limit);
  auto* const entries = directory_->cache().modify_as<IndexEntry>(level.node, level.entries);
  std::memmove(entries + position + 1, entries + position, (level.count - position) * sizeof(IndexEntry));
  entries[position] = entry;
  set_count(level, level.count + 1);
}

void HashTree::set_count(Level& level, std::uint32_t count) {
  level.count = count;
  const auto written = static_cast<std::uint16_t>(count);
  std::memcpy(directory_->cache().modify(level.node) + level.entries + offsetof(CountLimit, count), &written,
              sizeof written);
}

}  // namespace holdfast::ext4
