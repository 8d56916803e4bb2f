// Damaged extent trees are refused by name and never crash, hang or reach outside. Method: one field of one node is
// broken at a time, in the block cache, where checksums were already checked; then nodes are overwritten at random.
#include <cerrno>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "ext4/extent_node.h"
#include "ext4/extent_tree.h"
#include "support/ext4_bed.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Extent;
using filesystem::Initial;
using test::Ext4Bed;

constexpr PageRange kWholeFile{PageIndex(0), kEndOfFile};
constexpr std::uint64_t kFilePages = 4000;

PageRange pages(std::uint64_t first, std::uint64_t end) { return {PageIndex(first), PageIndex(end)}; }

// A file of 4,000 records, two levels below the inode; another without blocks.
class DamagedTree : public testing::Test {
 protected:
  DamagedTree() : bed_(64 * MiB, options(), 2) {
    std::vector<Extent> added;
    EXPECT_TRUE(allocate_extents(volume(), file(), pages(0, kFilePages), Initial::unwritten, added));
    for (std::uint64_t page = 0; page < kFilePages; page += 2) {
      EXPECT_TRUE(mark_written(volume(), file(), pages(page, page + 1)));
    }
    bed_.set_size(file(), kFilePages * kPageBytes);
    bed_.commit();
    std::memcpy(&root_, root_bytes(), sizeof root_);
    EXPECT_EQ(root_.header.depth, 2);
    index_ = child_block(root_.entries[0]);
    leaf_ = child_block(read(index_).entries[1]);
  }

  virtual const char* options() const { return ""; }

  struct Node {
    ExtentHeader header;
    ExtentEntry entries[kNodeEntries];
  };
  struct Root {
    ExtentHeader header;
    ExtentEntry entries[kRootEntries];
  };

  Volume& volume() { return bed_.volume(); }
  InodeNumber file() const { return bed_.file(0); }
  RawInode& raw_inode() { return *volume().inode(file()).value(); }
  std::byte* root_bytes() { return reinterpret_cast<std::byte*>(raw_inode().body.i_block); }

  BlockRef ref(BlockNumber block) {
    return volume()
        .cache()
        .read(block, BlockKind::extent_node, volume().inode_seed(file(), raw_inode().body.i_generation))
        .value();
  }
  Node read(BlockNumber block) {
    Node node;
    std::memcpy(&node, ref(block).data(), sizeof node);
    return node;
  }
  void write(BlockNumber block, const Node& node) {
    BlockRef at = ref(block);
    std::memcpy(volume().cache().modify(at), &node, sizeof node);
  }
  void write_root(const Root& root) { std::memcpy(root_bytes(), &root, sizeof root); }

  // What each operation answers that must look at the damaged place: 0 is no error.
  std::vector<int> codes(PageRange range) {
    std::vector<Extent> found;
    const auto code = [](const auto& result) { return result ? 0 : result.error().code(); };
    return {code(find_extents(volume(), file(), range, found)),
            code(allocate_extents(volume(), file(), range, Initial::written, found)),
            code(mark_written(volume(), file(), range)), code(remove_extents(volume(), file(), range, 1'000'000)),
            code(move_extents(volume(), file(), range, bed_.file(1), range.first))};
  }

  void expect_refused(const std::string& what) {
    const std::uint64_t free_before = volume().free_clusters();
    const std::vector<int> all = codes(pages(0, kFilePages));
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], EUCLEAN) << what << ", operation " << i;
    EXPECT_EQ(volume().free_clusters(), free_before) << what;
  }

  Ext4Bed bed_;
  Root root_;
  BlockNumber index_ = 0;
  BlockNumber leaf_ = 0;
};

TEST_F(DamagedTree, EveryBrokenFieldOfALeafIsRefused) {
  const struct {
    const char* what;
    std::function<void(Node&)> breaks;
  } cases[] = {
      {"magic", [](Node& node) { node.header.magic = 0xf30b; }},
      {"more entries than places", [](Node& node) { node.header.entries = 341; }},
      {"more places than fit", [](Node& node) { node.header.capacity = 341; }},
      {"all bits of the count", [](Node& node) { node.header.entries = node.header.capacity = 0xffff; }},
      {"no places", [](Node& node) { node.header.capacity = 0; }},
      {"no entries", [](Node& node) { node.header.entries = 0; }},
      {"depth", [](Node& node) { node.header.depth = 1; }},
      {"deepest", [](Node& node) { node.header.depth = 0xffff; }},
      {"empty record", [](Node& node) { node.entries[3].low &= 0xffff0000; }},
      {"records out of order", [](Node& node) { std::swap(node.entries[4], node.entries[5]); }},
      {"the same record twice", [](Node& node) { node.entries[7] = node.entries[6]; }},
      {"overlapping records", [](Node& node) { node.entries[8].low = (node.entries[8].low & 0xffff0000) | 2; }},
      {"key before the node's range", [](Node& node) { node.entries[0].key = 0; }},
      {"record into the next node",
       [](Node& node) {
         ExtentEntry& last = node.entries[node.header.entries - 1];
         last.low = (last.low & 0xffff0000) | 5;
       }},
      {"block 0", [](Node& node) { node.entries[2].high = 0; }},
      {"the group descriptors", [](Node& node) { node.entries[2].high = 1; }},
      {"past the volume", [](Node& node) { node.entries[2].high = 16384; }},
      {"far past the volume", [](Node& node) { node.entries[2].low |= 0xffff0000; }},
  };
  const Node good = read(leaf_);
  for (const auto& c : cases) {
    Node bad = good;
    c.breaks(bad);
    write(leaf_, bad);
    expect_refused(c.what);
    write(leaf_, good);
  }
  EXPECT_TRUE(bed_.clean()) << "a refused operation changed something";
}

TEST_F(DamagedTree, EveryBrokenFieldOfAnIndexIsRefused) {
  const struct {
    const char* what;
    std::function<void(Node&)> breaks;
  } cases[] = {
      {"magic", [](Node& node) { node.header.magic = 0; }},
      {"no entries", [](Node& node) { node.header.entries = 0; }},
      {"a leaf's depth", [](Node& node) { node.header.depth = 0; }},
      {"keys out of order", [](Node& node) { std::swap(node.entries[0].key, node.entries[1].key); }},
      {"the same child twice", [](Node& node) { node.entries[1].low = node.entries[0].low; }},
      {"a child that is data", [](Node& node) { node.entries[1].low += 2000; }},
      {"a child past the volume", [](Node& node) { node.entries[1].high = 1; }},
      {"block 0 as a child", [](Node& node) { node.entries[1].low = 0; }},
      {"itself as a child", [this](Node& node) { node.entries[1].low = static_cast<std::uint32_t>(index_); }},
  };
  const Node good = read(index_);
  for (const auto& c : cases) {
    Node bad = good;
    c.breaks(bad);
    write(index_, bad);
    expect_refused(c.what);
    write(index_, good);
  }
  EXPECT_TRUE(bed_.clean()) << "a refused operation changed something";
}

TEST_F(DamagedTree, EveryBrokenFieldOfTheRootIsRefused) {
  const struct {
    const char* what;
    std::function<void(Root&)> breaks;
  } cases[] = {
      {"magic", [](Root& root) { root.header.magic = 0; }},
      {"depth 6", [](Root& root) { root.header.depth = 6; }},
      {"depth 1", [](Root& root) { root.header.depth = 1; }},
      {"depth 0", [](Root& root) { root.header.depth = 0; }},
      {"five entries", [](Root& root) { root.header.entries = 5; }},
      {"five places", [](Root& root) { root.header.capacity = 5; }},
      {"no entries above nodes", [](Root& root) { root.header.entries = 0; }},
  };
  for (const auto& c : cases) {
    Root bad = root_;
    c.breaks(bad);
    write_root(bad);
    expect_refused(c.what);
    write_root(root_);
  }
  EXPECT_TRUE(bed_.clean()) << "a refused operation changed something";
}

TEST_F(DamagedTree, ANodeOfAnotherInodeIsRefused) {
  raw_inode().body.i_generation ^= 1;
  bed_.volume().inode_changed(file());
  bed_.reopen();
  expect_refused("the seed of the checksum");
}

class DamagedTreeAtRandom : public DamagedTree, public testing::WithParamInterface<int> {
 protected:
  const char* options() const override { return GetParam() % 2 == 0 ? "" : "-O bigalloc -C 16384"; }
};

TEST_P(DamagedTreeAtRandom, NothingCrashesOrHangs) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const auto below = [&random](std::uint64_t n) {
    return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random);
  };
  unsigned refused = 0;
  for (int round = 0; round < 150; ++round) {
    for (std::uint64_t flips = 1 + below(3); flips > 0; --flips) {
      if (below(6) == 0) {
        root_bytes()[below(60)] ^= static_cast<std::byte>(1 << below(8));
        continue;
      }
      Result<BlockRef> at = volume().cache().read(below(2) == 0 ? index_ : leaf_, BlockKind::plain);
      ASSERT_TRUE(at);
      const std::size_t reach = below(2) == 0 ? 64 : kBlockBytes;
      volume().cache().modify(*at)[below(reach)] ^= static_cast<std::byte>(1 << below(8));
    }
    const std::uint64_t first = below(kFilePages);
    const PageRange range = below(2) == 0 ? kWholeFile : pages(first, first + 1 + below(500));
    const PageRange bounded{range.first, std::min(range.end, PageIndex(kFilePages))};
    std::vector<Extent> found;
    switch (below(5)) {
      case 0:
        refused += allocate_extents(volume(), file(), bounded, Initial::written, found) ? 0u : 1u;
        break;
      case 1:
        refused += mark_written(volume(), file(), range) ? 0u : 1u;
        break;
      case 2:
        refused += remove_extents(volume(), file(), pages(first, first + 3), 2) ? 0u : 1u;
        break;
      case 3:
        refused += move_extents(volume(), file(), pages(first, first + 8), bed_.file(1), PageIndex(first)) ? 0u : 1u;
        break;
      default:
        refused += find_extents(volume(), file(), range, found) ? 0u : 1u;
        break;
    }
    EXPECT_LE(found.size(), 2 * kFilePages);
  }
  EXPECT_GT(refused, 10u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, DamagedTreeAtRandom, testing::Range(0, 12));

}  // namespace
}  // namespace holdfast::ext4
