// Goal: a change reaches its home block at write_out and not before; no copy is lost, evicted while in use, or used as
// two things. Method: a device of random bytes and a random program against a model of cached and home contents.
#include "ext4/block_cache.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "base/fault_point.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint64_t kBlocks = 512;

class BlockCacheTest : public testing::Test {
 protected:
  BlockCacheTest() : device_(device::Device::create_memory({.size = kBlocks * kBlockBytes}).value()) {}
  ~BlockCacheTest() override { fault_point::disarm_all(); }

  BlockCache make_cache() {
    return BlockCache(
        *device_,
        [this](const CachedBlock& block) -> Status {
          ++verified_;
          if (block.kind == refused_) return Error(EUCLEAN, "device", "refused");
          return {};
        },
        [this](CachedBlock& block) -> Status {
          ++sealed_;
          if (block.kind == BlockKind::directory) block.data[kBlockBytes - 1] = std::byte{0x5e};
          return {};
        });
  }
  std::uint32_t home_word(std::uint64_t block) const {
    std::uint32_t value;
    std::memcpy(&value, device_->at(Pfn(block)), sizeof(value));
    return value;
  }

  std::unique_ptr<device::Device> device_;
  BlockKind refused_ = BlockKind::attributes;
  unsigned verified_ = 0;
  unsigned sealed_ = 0;
};

TEST_F(BlockCacheTest, RandomProgramAgreesWithAModel) {
  BlockCache cache = make_cache();
  std::map<std::uint64_t, std::uint32_t> seen;  // as a reader through the cache sees them
  std::map<std::uint64_t, std::uint32_t> home;
  std::mt19937 random(1);
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t number = random() % kBlocks;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        const BlockRef block = cache.read(number, BlockKind::plain).value();
        ASSERT_EQ(*block.as<std::uint32_t>(), seen[number]);
        break;
      }
      case 3:
      case 4: {
        BlockRef block = cache.read(number, BlockKind::plain).value();
        seen[number] = static_cast<std::uint32_t>(random());
        *cache.modify_as<std::uint32_t>(block) = seen[number];
        break;
      }
      case 5: {
        BlockRef block = cache.fresh(number, BlockKind::plain).value();
        ASSERT_EQ(*block.as<std::uint32_t>(kBlockBytes - 4), 0u);
        seen[number] = static_cast<std::uint32_t>(random());
        *cache.modify_as<std::uint32_t>(block) = seen[number];
        break;
      }
      case 6:
        cache.forget(number);
        seen[number] = home[number];
        break;
      default:
        if (random() % 50 == 0) {
          cache.write_out().value();
          home = seen;
          ASSERT_EQ(cache.dirty_blocks(), 0u);
        } else if (random() % 10 == 0) {
          cache.trim(random() % 200);
        }
    }
    ASSERT_EQ(home_word(number), home[number]);
  }
}

TEST_F(BlockCacheTest, TrimKeepsWhatIsInUseAndWhatIsRecent) {
  BlockCache cache = make_cache();
  std::vector<BlockRef> held;
  for (std::uint64_t number = 0; number < 16; ++number) held.push_back(cache.read(number, BlockKind::plain).value());
  BlockRef dirty = cache.read(100, BlockKind::plain).value();
  *cache.modify_as<std::uint32_t>(dirty) = 7;
  dirty.reset();
  for (std::uint64_t number = 200; number < 500; ++number) static_cast<void>(cache.read(number, BlockKind::plain));
  static_cast<void>(cache.read(200, BlockKind::plain));
  cache.trim(64);
  EXPECT_LE(cache.blocks(), 65u);
  EXPECT_GE(cache.blocks(), 17u);
  const unsigned before = verified_;
  for (std::uint64_t number = 0; number < 16; ++number) static_cast<void>(cache.read(number, BlockKind::plain));
  static_cast<void>(cache.read(200, BlockKind::plain));
  EXPECT_EQ(verified_, before);
  EXPECT_EQ(*cache.read(100, BlockKind::plain)->as<std::uint32_t>(), 7u);
  static_cast<void>(cache.read(201, BlockKind::plain));
  EXPECT_EQ(verified_, before + 1);
}

TEST_F(BlockCacheTest, ForgottenBlockOutlivesItsReferencesOnly) {
  BlockCache cache = make_cache();
  BlockRef held = cache.read(5, BlockKind::plain).value();
  *cache.modify_as<std::uint32_t>(held) = 99;
  cache.forget(5);
  EXPECT_EQ(cache.dirty_blocks(), 0u);
  EXPECT_EQ(*held.as<std::uint32_t>(), 99u);
  EXPECT_EQ(*cache.read(5, BlockKind::plain)->as<std::uint32_t>(), 0u);
  EXPECT_DEATH(static_cast<void>(cache.modify(held)), "C1");
  cache.trim(1000);
  EXPECT_EQ(*held.as<std::uint32_t>(), 99u);
}

TEST_F(BlockCacheTest, KindsAreKeptApart) {
  BlockCache cache = make_cache();
  EXPECT_EQ(cache.read(1, BlockKind::attributes).error().code(), EUCLEAN);
  // Plain first, verified when it is wanted as something.
  static_cast<void>(cache.read(1, BlockKind::plain).value());
  EXPECT_EQ(cache.read(1, BlockKind::attributes).error().code(), EUCLEAN);
  BlockRef node = cache.read(2, BlockKind::extent_node, 1).value();
  static_cast<void>(cache.modify(node));
  EXPECT_EQ(cache.read(2, BlockKind::extent_node, 2).error().code(), EUCLEAN);
  EXPECT_EQ(cache.read(2, BlockKind::directory, 1).error().code(), EUCLEAN);
  BlockRef leaf = cache.read(3, BlockKind::directory, 1).value();
  static_cast<void>(cache.modify(leaf));
  EXPECT_TRUE(cache.read(3, BlockKind::hash_tree_node, 1).has_value());
  cache.write_out().value();
  EXPECT_EQ(sealed_, 2u);
  EXPECT_EQ(device_->at(Pfn(3))[kBlockBytes - 1], std::byte{0x5e});
}

TEST_F(BlockCacheTest, FailuresAreReported) {
  BlockCache cache = make_cache();
  EXPECT_EQ(cache.read(kBlocks, BlockKind::plain).error().code(), EUCLEAN);
  EXPECT_EQ(cache.fresh(kBlocks, BlockKind::plain).error().code(), EUCLEAN);
  EXPECT_EQ(cache.read(~std::uint64_t{0}, BlockKind::plain).error().code(), EUCLEAN);
  fault_point::arm("ext4.block_cache.read", 1);
  EXPECT_EQ(cache.read(8, BlockKind::plain).error().code(), EIO);
  BlockRef block = cache.read(8, BlockKind::plain).value();
  *cache.modify_as<std::uint32_t>(block) = 1;
  fault_point::arm("ext4.block_cache.write", 1);
  EXPECT_EQ(cache.write_out().error().code(), EIO);
  EXPECT_EQ(cache.dirty_blocks(), 1u);
}

}  // namespace
}  // namespace holdfast::ext4
