// Goal: an index grows as deep as it may and stays what e2fsck takes for one; when it is full, nothing changes. Method:
// trees written by hand whose nodes on the way to one leaf are full, and names added until that leaf splits.
#include "ext4/hash_tree.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "base/fault_point.h"
#include "unit/ext4/directory_image.h"
#include "unit/ext4/tree_builder.h"

namespace holdfast::ext4 {
namespace {

// Checksums, and whether the full nodes are first or last below theirs.
class HashTreeGrowth : public testing::TestWithParam<std::tuple<bool, bool>> {
 protected:
  HashTreeGrowth() : HashTreeGrowth("large_dir") {}
  explicit HashTreeGrowth(const std::string& features)
      : image_({.mke2fs = {"-O", features, "-O", std::get<0>(GetParam()) ? "metadata_csum" : "^metadata_csum"}}) {}

  bool wide_first() const { return std::get<1>(GetParam()); }

  // Adds names until the directory grows; the first refusal for lack of space, if any.
  Status add_until_split(int splits = 1) {
    std::uint32_t blocks = image_.blocks();
    while (splits != 0) {
      const std::string name = "a-name-of-some-length-" + std::to_string(model_.size());
      const InodeNumber inode = image_.target();
      HF_TRY(image_.add(name, inode));
      model_[name] = inode;
      if (image_.blocks() != blocks) --splits;
      blocks = image_.blocks();
    }
    return {};
  }

  void expect_all_there() {
    for (const auto& [name, inode] : model_) ASSERT_EQ(image_.find(name), inode) << name;
    DirectoryImage::Names listed = image_.list(50);
    listed.erase(".");
    listed.erase("..");
    EXPECT_EQ(listed, model_);
    image_.reopen();
    EXPECT_EQ(image_.list(50).size(), model_.size() + 2);
    EXPECT_TRUE(image_.close_and_check(model_));
  }

  DirectoryImage image_;
  DirectoryImage::Names model_;
};

TEST_P(HashTreeGrowth, FullRootMovesDown) {
  build_tree(image_, {.nodes = {}, .root_leaves = root_limit(image_), .wide_first = wide_first()});
  const std::uint32_t blocks = image_.blocks();
  ASSERT_TRUE(add_until_split());
  EXPECT_EQ(index_levels(image_), 2u);
  EXPECT_EQ(image_.blocks(), blocks + 2) << "a leaf and a node";
  ASSERT_TRUE(add_until_split(4)) << "the node has room for three more, then it splits";
  EXPECT_EQ(image_.blocks(), blocks + 7);
  expect_all_there();
}

TEST_P(HashTreeGrowth, FullNodeIsSplit) {
  const std::uint32_t full = node_limit(image_);
  build_tree(image_, {.nodes = wide_first() ? std::vector<std::uint32_t>{full, 1} : std::vector<std::uint32_t>{1, full},
                      .wide_first = wide_first()});
  const std::uint32_t blocks = image_.blocks();
  ASSERT_TRUE(add_until_split());
  EXPECT_EQ(image_.blocks(), blocks + 2);
  EXPECT_EQ(index_levels(image_), 2u);
  ASSERT_TRUE(add_until_split(20));
  expect_all_there();
}

TEST_P(HashTreeGrowth, FullTreeBecomesDeeper) {
  std::vector<std::uint32_t> nodes(root_limit(image_), 1);
  (wide_first() ? nodes.front() : nodes.back()) = node_limit(image_);
  build_tree(image_, {.nodes = nodes, .wide_first = wide_first()});
  const std::uint32_t blocks = image_.blocks();
  ASSERT_TRUE(add_until_split());
  EXPECT_EQ(index_levels(image_), 3u);
  EXPECT_EQ(image_.blocks(), blocks + 3) << "a leaf, half of the full node, and the old root";
  ASSERT_TRUE(add_until_split(20));
  expect_all_there();
}

class HashTreeLimit : public HashTreeGrowth {
 protected:
  HashTreeLimit() : HashTreeGrowth("^large_dir") {}
};

TEST_P(HashTreeLimit, FullIndexTakesNoMoreAndChangesNothing) {
  std::vector<std::uint32_t> nodes(root_limit(image_), 1);
  (wide_first() ? nodes.front() : nodes.back()) = node_limit(image_);
  build_tree(image_, {.nodes = nodes, .wide_first = wide_first()});
  const std::uint32_t blocks = image_.blocks();
  const Status full = add_until_split();
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code(), ENOSPC);
  EXPECT_NE(full.error().remedy().find("large_dir"), std::string::npos);
  EXPECT_EQ(image_.blocks(), blocks);
  // Room made by one that goes is used by the next.
  ASSERT_TRUE(image_.remove(model_.begin()->first));
  model_.erase(model_.begin());
  ASSERT_TRUE(image_.add("short", image_.target()));
  ASSERT_TRUE(image_.remove("short"));
  expect_all_there();
}

TEST_P(HashTreeLimit, NoSpaceForNodesChangesNothing) {
  build_tree(image_, {.nodes = {}, .root_leaves = root_limit(image_), .wide_first = wide_first()});
  const std::uint32_t blocks = image_.blocks();
  fault_point::arm("ext4.directory.reserve", 1);
  const Status refused = add_until_split();
  fault_point::disarm_all();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ENOSPC);
  EXPECT_EQ(image_.blocks(), blocks);
  EXPECT_EQ(index_levels(image_), 1u);
  ASSERT_TRUE(add_until_split());
  EXPECT_EQ(index_levels(image_), 2u);
  expect_all_there();
}

const auto name_of = [](const auto& form) {
  return std::string(std::get<0>(form.param) ? "checksums" : "plain") + (std::get<1>(form.param) ? "_first" : "_last");
};
INSTANTIATE_TEST_SUITE_P(Forms, HashTreeGrowth, testing::Combine(testing::Bool(), testing::Bool()), name_of);
INSTANTIATE_TEST_SUITE_P(Forms, HashTreeLimit, testing::Combine(testing::Bool(), testing::Bool()), name_of);

}  // namespace
}  // namespace holdfast::ext4
