// Goal: no cluster is handed out twice, freed ones only after the commit, counts are exact, large files lie congruent
// to units, small ones leave whole units alone. Method: random requests and frees against a set of owned clusters on
// images of several shapes; e2fsck cannot judge here (blocks without an owner), so the bitmaps are compared.
#include "ext4/allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/fault_point.h"
#include "support/ext4_volume.h"

namespace holdfast::ext4 {
namespace {

using test::MountedVolume;

struct Shape {
  const char* name;
  const char* options;
  std::uint64_t mebibytes;
};
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

class AllocatorModel : public testing::TestWithParam<Shape> {};

TEST_P(AllocatorModel, HandsOutEachClusterOnce) {
  MountedVolume volume(GetParam().mebibytes * MiB, GetParam().options);
  Allocator& allocator = volume.core().allocator();
  const Geometry geometry = volume.core().geometry();  // outlives the reopening
  const std::uint64_t all_free = allocator.free_clusters();
  std::set<std::uint64_t> owned;    // clusters
  std::set<std::uint64_t> pending;  // freed, not committed
  std::vector<BlockRun> runs;
  std::mt19937_64 random(7);
  for (int step = 0; step < 3000; ++step) {
    const auto kind = random() % 16;
    if (kind < 9) {
      Goal goal;
      goal.congruent = random() % 3 == 0;
      goal.logical = goal.congruent ? random() % 5000 : random() % 40;
      goal.wanted = goal.congruent ? 1 + random() % 3000 : 1 + random() % 30;
      if (random() % 2 == 0) goal.near = random() % geometry.blocks;
      const Result<BlockRun> result = volume->allocate_data(goal);
      if (!result) {
        ASSERT_EQ(result.error().code(), ENOSPC) << result.error().message();
        continue;
      }
      const BlockRun run = *result;
      ASSERT_GE(run.count, 1u);
      ASSERT_LE(run.count, goal.wanted);
      ASSERT_TRUE(volume->check_run(run).has_value());
      ASSERT_EQ(run.first % geometry.blocks_per_cluster(), goal.logical % geometry.blocks_per_cluster());
      for (std::uint64_t cluster = geometry.cluster_of(run.first);
           cluster <= geometry.cluster_of(run.first + run.count - 1); ++cluster) {
        ASSERT_TRUE(owned.insert(cluster).second) << "cluster " << cluster << " twice";
        ASSERT_EQ(pending.count(cluster), 0u) << "cluster " << cluster << " before its commit";
      }
      runs.push_back(run);
    } else if (kind < 11) {
      const Result<BlockNumber> block = volume->allocate_metadata(random() % geometry.blocks);
      if (!block) continue;
      ASSERT_EQ(*block % geometry.blocks_per_cluster(), 0u);
      ASSERT_TRUE(owned.insert(geometry.cluster_of(*block)).second);
      ASSERT_EQ(pending.count(geometry.cluster_of(*block)), 0u);
      runs.push_back({*block, 1});
    } else if (kind < 15 && !runs.empty()) {
      const std::size_t index = random() % runs.size();
      const BlockRun run = runs[index];
      runs[index] = runs.back();
      runs.pop_back();
      const bool undo = random() % 4 == 0;
      if (undo) {
        volume->unallocate(run);
      } else {
        volume->free_blocks(run).value();
      }
      for (std::uint64_t cluster = geometry.cluster_of(run.first);
           cluster <= geometry.cluster_of(run.first + run.count - 1); ++cluster) {
        owned.erase(cluster);
        if (!undo) pending.insert(cluster);
      }
    } else if (random() % 20 == 0) {
      volume.commit();
      pending.clear();
    }
    ASSERT_EQ(allocator.free_clusters(), all_free - owned.size());
    ASSERT_EQ(allocator.pending_clusters(), pending.size());
  }
  EXPECT_GT(runs.size(), 10u);
  // A volume opened anew counts the same, group by group (load_group compares each bitmap with its descriptor).
  volume.reopen();
  for (std::uint64_t cluster = 0; cluster < geometry.clusters(); ++cluster) {
    const bool is_free = volume.core().allocator().is_free(cluster << geometry.cluster_shift).value();
    ASSERT_FALSE(is_free && owned.count(cluster) != 0) << cluster;
  }
  EXPECT_EQ(volume->free_clusters(), all_free - owned.size());
  for (const BlockRun& run : runs) volume->free_blocks(run).value();
  volume.commit();
  EXPECT_EQ(volume->free_clusters(), all_free);
  volume.close();
  EXPECT_TRUE(test::e2fsck_clean(volume.image().path()));
}

constexpr Shape kShapes[] = {
    {"Plain", "-t ext4 -O ^has_journal", 300},
    {"OneGroup", "-t ext4 -O ^has_journal", 60},
    {"NoDescriptorChecksums", "-t ext4 -O ^has_journal,^metadata_csum,^uninit_bg", 300},
    {"SmallGroups", "-t ext4 -O ^has_journal -g 1024", 200},
    {"OddGroups", "-t ext4 -O ^has_journal -g 8200", 300},
    {"Clusters16K", "-t ext4 -O ^has_journal,bigalloc -C 16384", 900},
    {"Clusters2M", "-t ext4 -O ^has_journal,bigalloc,^resize_inode -C 2097152", 1500},
};
INSTANTIATE_TEST_SUITE_P(Shapes, AllocatorModel, testing::ValuesIn(kShapes),
                         [](const testing::TestParamInfo<Shape>& shape) { return std::string(shape.param.name); });

std::uint64_t pages_in_whole_units(const std::vector<std::pair<std::uint64_t, BlockRun>>& extents) {
  std::uint64_t pages = 0;
  for (const auto& [logical, run] : extents) {
    if (logical % kUnitBlocks != run.first % kUnitBlocks) continue;
    const std::uint64_t first = round_up(logical, kUnitBlocks);
    const std::uint64_t end = round_down(logical + run.count, kUnitBlocks);
    if (end > first) pages += end - first;
  }
  return pages;
}

// A large file's extents, allocated as a writer would: each goal behind the extent before.
std::vector<std::pair<std::uint64_t, BlockRun>> allocate_large(Volume& volume, std::uint64_t pages,
                                                               std::uint64_t step) {
  std::vector<std::pair<std::uint64_t, BlockRun>> extents;
  for (std::uint64_t logical = 0; logical < pages;) {
    Goal goal;
    goal.congruent = true;
    goal.logical = logical;
    goal.wanted = std::min(step, pages - logical);
    if (!extents.empty()) goal.near = extents.back().second.first + extents.back().second.count;
    const BlockRun run = volume.allocate_data(goal).value();
    if (!extents.empty() && goal.near == run.first) {
      extents.back().second.count += run.count;
    } else {
      extents.emplace_back(logical, run);
    }
    logical += run.count;
  }
  return extents;
}

TEST(Allocator, LargeFilesAreWholeUnits) {
  MountedVolume volume(2 * GiB, "-t ext4 -O ^has_journal -E packed_meta_blocks=1");
  for (const std::uint64_t step : {std::uint64_t{100'000}, std::uint64_t{512}, std::uint64_t{100}, std::uint64_t{1}}) {
    const std::uint64_t pages = step == 1 ? 3000 : 20'000;
    const auto extents = allocate_large(*volume, pages, step);
    EXPECT_EQ(pages_in_whole_units(extents), round_down(pages, kUnitBlocks)) << "in steps of " << step;
  }
}

// A file whose first blocks are a hole: the place inside the unit counts, not only its start.
TEST(Allocator, LargeFilesAgreeWithTheUnitFromTheirFirstBlock) {
  MountedVolume volume(GiB, "-t ext4 -O ^has_journal -E packed_meta_blocks=1");
  for (const std::uint64_t logical : {std::uint64_t{1}, std::uint64_t{300}, std::uint64_t{511}, std::uint64_t{1700}}) {
    Goal goal;
    goal.congruent = true;
    goal.logical = logical;
    goal.wanted = 2048;
    const BlockRun run = volume->allocate_data(goal).value();
    EXPECT_EQ(run.first % kUnitBlocks, logical % kUnitBlocks);
    EXPECT_EQ(run.count, goal.wanted);
  }
}

TEST(Allocator, SmallFilesLeaveUnitsWhole) {
  MountedVolume volume(GiB, "-t ext4 -O ^has_journal -E packed_meta_blocks=1");
  std::mt19937 random(3);
  std::uint64_t pages = 0;
  std::set<std::uint64_t> units;
  for (int i = 0; i < 2000; ++i) {
    Goal goal;
    goal.near = (random() % 8) * 32768;  // directories are spread over groups
    goal.wanted = 1 + random() % 8;
    for (std::uint64_t left = goal.wanted; left > 0;) {
      goal.wanted = left;
      const BlockRun run = volume->allocate_data(goal).value();
      left -= run.count;
      pages += run.count;
      for (std::uint64_t unit = run.first / 512; unit <= (run.first + run.count - 1) / 512; ++unit) units.insert(unit);
    }
  }
  // The first units hold metadata and are broken to begin with.
  EXPECT_LE(units.size(), pages / 512 + 10);
}

// After churn to 80 % full, most of what large files own can still be mapped in units.
TEST(Allocator, UnitsSurviveChurn) {
  MountedVolume volume(GiB, "-t ext4 -O ^has_journal -E packed_meta_blocks=1");
  std::mt19937 random(5);
  struct File {
    bool large = false;
    std::vector<std::pair<std::uint64_t, BlockRun>> extents;
  };
  std::vector<File> files;
  const std::uint64_t all = volume->free_clusters();
  for (int round = 0; round < 6000; ++round) {
    const bool fill = volume->free_clusters() * 5 > all;
    if (fill || files.empty()) {
      File file;
      file.large = random() % 8 == 0;
      if (file.large) {
        file.extents = allocate_large(*volume, 1024 + random() % 4096, 100'000);
      } else {
        std::uint64_t pages = 1 + random() % 40;
        for (std::uint64_t logical = 0; logical < pages;) {
          Goal goal;
          goal.near = file.extents.empty() ? (random() % 8) * 32768
                                           : file.extents.back().second.first + file.extents.back().second.count;
          goal.logical = logical;
          goal.wanted = pages - logical;
          file.extents.emplace_back(logical, volume->allocate_data(goal).value());
          logical += file.extents.back().second.count;
        }
      }
      files.push_back(std::move(file));
    }
    while (volume->free_clusters() * 5 <= all) {
      const std::size_t index = random() % files.size();
      for (const auto& [logical, run] : files[index].extents) volume->free_blocks(run).value();
      files[index] = std::move(files.back());
      files.pop_back();
      volume.commit();
    }
  }
  std::uint64_t in_units = 0;
  std::uint64_t large_pages = 0;
  for (const File& file : files) {
    if (!file.large) continue;
    in_units += pages_in_whole_units(file.extents);
    for (const auto& [logical, run] : file.extents) large_pages += run.count;
  }
  const double share = static_cast<double>(in_units) / static_cast<double>(large_pages);
  std::printf("share of large files' pages in whole units after churn: %.2f\n", share);
  EXPECT_GT(share, 0.7);
}

TEST(Allocator, RefusesFreesOfWhatNobodyOwns) {
  MountedVolume volume(64 * MiB, "-t ext4 -O ^has_journal");
  const std::uint64_t free_before = volume->free_clusters();
  const BlockNumber bitmap = volume.core().groups().block_bitmap(0);
  EXPECT_EQ(volume->free_blocks({bitmap, 1}).error().code(), EUCLEAN);
  EXPECT_EQ(volume->free_blocks({0, 4}).error().code(), EUCLEAN);
  EXPECT_EQ(volume->free_blocks({16000, 1}).error().code(), EUCLEAN);
  EXPECT_EQ(volume->free_blocks({1u << 30, 1}).error().code(), EUCLEAN);
  EXPECT_EQ(volume->free_blocks({16000, ~std::uint64_t{0}}).error().code(), EUCLEAN);
  const BlockRun run = volume->allocate_data({.wanted = 4}).value();
  // Half owned: nothing of it is freed.
  EXPECT_EQ(volume->free_blocks({run.first, 5}).error().code(), EUCLEAN);
  EXPECT_EQ(volume->free_clusters(), free_before - 4);
  EXPECT_TRUE(volume->free_blocks(run).has_value());
  EXPECT_EQ(volume->free_blocks(run).error().code(), EUCLEAN);
}

TEST(Allocator, KeepsSpaceForOperationsThatMustNotFail) {
  MountedVolume volume(32 * MiB, "-t ext4 -O ^has_journal");
  Allocator& allocator = volume.core().allocator();
  ASSERT_GT(allocator.kept_clusters(), 10u);
  ASSERT_TRUE(allocator.reserve(10, false));
  while (volume->allocate_data({.wanted = 1000})) {
  }
  EXPECT_EQ(allocator.usable_clusters(), allocator.kept_clusters() + 10);
  EXPECT_FALSE(allocator.reserve(1, false));
  std::uint64_t mine = 10;
  allocator.charge(&mine);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(volume->allocate_metadata(0).has_value());
  EXPECT_EQ(mine, 0u);
  allocator.charge(nullptr);
  ASSERT_TRUE(allocator.reserve(3, true));
  EXPECT_EQ(allocator.usable_clusters(), allocator.kept_clusters());
  // What is set aside for one is not there for another.
  for (std::uint64_t left = allocator.kept_clusters(); left > 3; --left) {
    EXPECT_TRUE(volume->allocate_metadata(0).has_value());
  }
  EXPECT_EQ(volume->allocate_metadata(0).error().code(), ENOSPC);
}

TEST(Allocator, DamagedBitmapIsReportedAndNothingTaken) {
  for (const char* options : {"-t ext4 -O ^has_journal", "-t ext4 -O ^has_journal,^metadata_csum,^uninit_bg"}) {
    MountedVolume volume(64 * MiB, options);
    const std::uint64_t free_before = volume->free_clusters();
    std::byte* bitmap = volume->device().at(Pfn(volume.core().groups().block_bitmap(0)));
    bitmap[2000] = std::byte{0x10};
    const Result<BlockRun> taken = volume->allocate_data({.wanted = 1});
    ASSERT_FALSE(taken.has_value());
    EXPECT_EQ(taken.error().code(), EUCLEAN) << taken.error().message();
    EXPECT_NE(taken.error().message().find("group 0"), std::string::npos) << taken.error().message();
    bitmap[2000] = std::byte{0};
    bitmap[0] = std::byte{0};  // the superblock marked free
    EXPECT_EQ(volume->allocate_data({.wanted = 1}).error().code(), EUCLEAN);
    EXPECT_EQ(volume->free_clusters(), free_before);
  }
}

}  // namespace
}  // namespace holdfast::ext4
