// Goal: the memory of directories stays bounded and never tells of a directory that is gone. Method: states made past
// the bounds, forgotten and made again.
#include "ext4/directory_cache.h"

#include <gtest/gtest.h>

#include <set>

namespace holdfast::ext4 {
namespace {

TEST(DirectoryCache, KeepsTheDirectoriesUsedLast) {
  DirectoryCache cache;
  for (std::uint32_t inode = 1; inode <= DirectoryCache::kDirectoriesMax; ++inode)
    cache.make(InodeNumber{inode}, inode);
  ASSERT_NE(cache.find(InodeNumber{1}), nullptr);  // now the one used last
  cache.make(InodeNumber{1000000}, 7);
  EXPECT_EQ(cache.directories(), DirectoryCache::kDirectoriesMax);
  EXPECT_EQ(cache.find(InodeNumber{2}), nullptr) << "the oldest goes first";
  ASSERT_NE(cache.find(InodeNumber{1}), nullptr);
  EXPECT_EQ(cache.find(InodeNumber{1})->seed, 1u);
  EXPECT_EQ(cache.find(InodeNumber{1000000})->seed, 7u);
}

TEST(DirectoryCache, BoundsBlockNumbersButKeepsTheOneInUse) {
  DirectoryCache cache;
  cache.resize(cache.make(InodeNumber{1}, 0), 1000);
  cache.resize(cache.make(InodeNumber{2}, 0), DirectoryCache::kBlocksMax - 1000);
  EXPECT_EQ(cache.directories(), 2u);
  EXPECT_EQ(cache.blocks(), DirectoryCache::kBlocksMax);
  DirectoryState& state = *cache.find(InodeNumber{2});
  cache.resize(state, DirectoryCache::kBlocksMax + 1);
  EXPECT_EQ(cache.find(InodeNumber{1}), nullptr);
  EXPECT_EQ(cache.find(InodeNumber{2}), &state);
  EXPECT_EQ(cache.blocks(), DirectoryCache::kBlocksMax + 1);
}

TEST(DirectoryCache, NoVersionIsSeenTwice) {
  DirectoryCache cache;
  std::set<std::uint64_t> versions;
  for (int round = 0; round < 10; ++round) {
    DirectoryState& state = cache.make(InodeNumber{5}, 0);
    EXPECT_TRUE(versions.insert(state.version).second);
    cache.changed(state);
    EXPECT_TRUE(versions.insert(state.version).second);
    cache.forget(InodeNumber{5});
    EXPECT_EQ(cache.find(InodeNumber{5}), nullptr);
    cache.forget(InodeNumber{5});  // again: nothing
  }
  EXPECT_EQ(versions.count(0), 0u);
  EXPECT_EQ(cache.blocks(), 0u);
}

}  // namespace
}  // namespace holdfast::ext4
