#include "unit/ext4/tree_builder.h"

#include <algorithm>
#include <cstring>

#include "ext4/dir_block.h"
#include "ext4/directory_file.h"
#include "ext4/hash_tree.h"
#include "ext4/hash_tree_node.h"

namespace holdfast::ext4 {
namespace {

void write_entries(std::byte* block, std::uint32_t at, std::uint32_t limit, const std::vector<IndexEntry>& entries) {
  std::memcpy(block + at, entries.data(), entries.size() * sizeof(IndexEntry));
  const CountLimit counts{static_cast<std::uint16_t>(limit), static_cast<std::uint16_t>(entries.size())};
  std::memcpy(block + at, &counts, sizeof counts);
}

class Builder {
 public:
  Builder(DirectoryImage& image, const TreePlan& plan)
      : image_(image), plan_(plan), file_(DirectoryFile::open(image.volume(), image.directory()).value()) {}

  void run() {
    leaves_ = plan_.root_leaves;
    for (const std::uint32_t leaves : plan_.nodes) leaves_ += leaves;
    EXPECT_TRUE(file_.reserve(leaves_ + static_cast<std::uint32_t>(plan_.nodes.size())));
    EXPECT_TRUE(HashTree::make_root(file_, InodeNumber{EXT2_ROOT_INO}, 1));
    std::vector<IndexEntry> entries;
    if (plan_.nodes.empty()) entries = leaves(plan_.root_leaves);
    for (const std::uint32_t count : plan_.nodes) entries.push_back(node(count));
    BlockRef root = file_.read(0, BlockKind::hash_tree_node).value();
    std::byte* const bytes = file_.cache().modify(root);
    bytes[kRootInfoAt + offsetof(RootInfo, levels)] = static_cast<std::byte>(plan_.nodes.empty() ? 0 : 1);
    write_entries(bytes, kRootEntriesAt, root_limit(image_), entries);
    file_.changed();
  }

 private:
  // Keys two apart, at the far end of the space of hashes from the wide leaf.
  std::uint32_t next_key() {
    const std::uint32_t leaf = used_++;
    if (leaf == 0) return 0;
    return plan_.wide_first ? 0xffff0000u - 2 * (leaves_ - leaf) : 2 * leaf;
  }

  std::vector<IndexEntry> leaves(std::uint32_t count) {
    std::vector<IndexEntry> entries;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t number = file_.take_reserved();
      BlockRef ref = file_.fresh(number, BlockKind::directory).value();
      make_empty(file_.cache().modify(ref), file_.shape());
      entries.push_back({next_key(), number});
    }
    return entries;
  }

  IndexEntry node(std::uint32_t count) {
    const std::uint32_t number = file_.take_reserved();
    const std::vector<IndexEntry> entries = leaves(count);
    BlockRef ref = file_.fresh(number, BlockKind::hash_tree_node).value();
    std::byte* const bytes = file_.cache().modify(ref);
    const RecordHeader head{0, 4096, 0, 0};
    std::memcpy(bytes, &head, sizeof head);
    write_entries(bytes, kNodeEntriesAt, node_limit(image_), entries);
    return {entries.front().key, number};
  }

  DirectoryImage& image_;
  const TreePlan& plan_;
  DirectoryFile file_;
  std::uint32_t leaves_ = 0;
  std::uint32_t used_ = 0;
};

}  // namespace

void build_tree(DirectoryImage& image, const TreePlan& plan) { Builder(image, plan).run(); }

std::uint32_t root_limit(DirectoryImage& image) {
  return index_entries_max(kRootEntriesAt, image.volume().has_metadata_checksums());
}
std::uint32_t node_limit(DirectoryImage& image) {
  return index_entries_max(kNodeEntriesAt, image.volume().has_metadata_checksums());
}

std::uint32_t index_levels(DirectoryImage& image) {
  DirectoryFile file = DirectoryFile::open(image.volume(), image.directory()).value();
  const BlockRef root = file.read(0, BlockKind::hash_tree_node).value();
  return root.as<RootInfo>(kRootInfoAt)->levels + 1u;
}

}  // namespace holdfast::ext4
