// Where extent trees end: the longest records, the last page, full volumes, deep trees, files of other kinds. Method:
// the case is built, e2fsck judges it; a failing change must have changed nothing.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <vector>

#include <gtest/gtest.h>

#include "base/fault_point.h"
#include "ext4/extent_node.h"
#include "ext4/extent_tree.h"
#include "support/ext4_bed.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Extent;
using filesystem::Initial;
using test::Ext4Bed;

// No metadata between the blocks of files.
constexpr const char* kLongRuns = "-O sparse_super2,^resize_inode -E packed_meta_blocks=1,num_backup_sb=0";
constexpr PageRange kWholeFile{PageIndex(0), kEndOfFile};

PageRange pages(std::uint64_t first, std::uint64_t end) { return {PageIndex(first), PageIndex(end)}; }

std::vector<Extent> extents_of(Ext4Bed& bed, InodeNumber inode) {
  std::vector<Extent> found;
  const Status status = find_extents(bed.volume(), inode, kWholeFile, found);
  EXPECT_TRUE(status) << status.error().message();
  return found;
}

// The lines of debugfs that show extents: a tree's records, nodes left out.
std::vector<std::string> records_on_medium(Ext4Bed& bed, const std::string& path) {
  bed.commit();
  std::vector<std::string> lines;
  std::istringstream text(bed.debugfs("extents -l " + path));
  for (std::string line; std::getline(text, line);) {
    if (line.find('/') != std::string::npos) lines.push_back(line);
  }
  return lines;
}

unsigned depth_of(Ext4Bed& bed, InodeNumber inode) {
  return root_depth(bed.volume(), inode, *bed.volume().inode(inode).value()).value();
}

std::uint64_t allocated(Ext4Bed& bed, InodeNumber inode) {
  return bed.volume().inode(inode).value()->body.i_blocks / 8;
}

TEST(ExtentLimits, NeighboursBecomeOneRecordUpToTheLongest) {
  Ext4Bed bed(512 * MiB, kLongRuns, 1);
  const InodeNumber file = bed.file(0);
  std::vector<Extent> added;
  for (std::uint64_t first = 0; first < 40960; first += 512) {
    ASSERT_TRUE(allocate_extents(bed.volume(), file, pages(first, first + 512), Initial::written, added));
  }
  const std::vector<Extent> found = extents_of(bed, file);
  ASSERT_EQ(found.size(), 1u) << "contiguous runs are one extent, whatever the records";
  EXPECT_EQ(found[0].count.raw(), 40960u);
  EXPECT_EQ(records_on_medium(bed, "/f0").size(), 2u) << "32768 blocks and the rest";
  bed.set_size(file, 40960 * kPageBytes);
  EXPECT_TRUE(bed.clean());
}

TEST(ExtentLimits, UnwrittenRecordsAreShorterAndJoinWhenWritten) {
  Ext4Bed bed(512 * MiB, kLongRuns, 1);
  const InodeNumber file = bed.file(0);
  std::vector<Extent> added;
  ASSERT_TRUE(allocate_extents(bed.volume(), file, pages(0, 32768), Initial::unwritten, added));
  ASSERT_EQ(added.size(), 1u);
  EXPECT_TRUE(added[0].unwritten);
  EXPECT_EQ(added[0].pfn.raw() % 512, 0u) << "a large file lies congruent to its units";
  EXPECT_EQ(records_on_medium(bed, "/f0").size(), 2u);
  EXPECT_TRUE(bed.clean());
  ASSERT_TRUE(mark_written(bed.volume(), file, kWholeFile));
  EXPECT_EQ(records_on_medium(bed, "/f0").size(), 1u);
  const std::vector<Extent> found = extents_of(bed, file);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_FALSE(found[0].unwritten);
  bed.set_size(file, 32768 * kPageBytes);
  EXPECT_TRUE(bed.clean());
}

TEST(ExtentLimits, TheLastPageOfAFile) {
  Ext4Bed bed(64 * MiB, "", 1);
  const InodeNumber file = bed.file(0);
  std::vector<Extent> added;
  ASSERT_TRUE(allocate_extents(bed.volume(), file, pages(kLogicalEnd - 1, kLogicalEnd), Initial::written, added));
  for (const PageRange range : {pages(kLogicalEnd, kLogicalEnd + 1), pages(5, kLogicalEnd + 1), kWholeFile}) {
    const auto past = allocate_extents(bed.volume(), file, range, Initial::written, added);
    ASSERT_FALSE(past);
    EXPECT_EQ(past.error().code(), EFBIG);
  }
  ASSERT_EQ(extents_of(bed, file).size(), 1u);
  EXPECT_EQ(extents_of(bed, file)[0].index.raw(), kLogicalEnd - 1);
  bed.set_size(file, kLogicalEnd * kPageBytes);
  EXPECT_TRUE(bed.clean());
  bed.reopen();
  EXPECT_EQ(remove_extents(bed.volume(), file, kWholeFile, 10).value().raw(), 0u);
  EXPECT_TRUE(extents_of(bed, file).empty());
  EXPECT_EQ(allocated(bed, file), 0u);
  EXPECT_TRUE(bed.clean());
}

// 100,000 records: a contiguous run, every second page of which is written.
TEST(ExtentLimits, DeepTreesGrowAreFoundInAndShrinkToNothing) {
  constexpr std::uint64_t kPages = 100'000;
  Ext4Bed bed(640 * MiB, "", 1);
  const InodeNumber file = bed.file(0);
  const std::uint64_t free_before = bed.volume().free_clusters();
  std::vector<Extent> added;
  ASSERT_TRUE(allocate_extents(bed.volume(), file, pages(0, kPages), Initial::unwritten, added));
  // From the front and from the back alternately, so that nodes split in the middle and at the end.
  for (std::uint64_t i = 0; i < kPages / 4; ++i) {
    const std::uint64_t back = kPages - 2 - 2 * i;
    ASSERT_TRUE(mark_written(bed.volume(), file, pages(2 * i, 2 * i + 1)));
    ASSERT_TRUE(mark_written(bed.volume(), file, pages(back, back + 1)));
  }
  bed.set_size(file, kPages * kPageBytes);
  EXPECT_EQ(depth_of(bed, file), 2u);
  EXPECT_TRUE(bed.clean());
  bed.reopen();
  ASSERT_EQ(extents_of(bed, file).size(), kPages);
  for (std::uint64_t page = 0; page < kPages; page += 997) {
    std::vector<Extent> found;
    ASSERT_TRUE(find_extents(bed.volume(), file, pages(page, page + 1), found));
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].index.raw(), page);
    EXPECT_EQ(found[0].unwritten, page % 2 == 1);
  }
  // Every third record goes: leaves that become sparse are joined.
  for (std::uint64_t page = 0; page < kPages; page += 3) {
    ASSERT_TRUE(remove_extents(bed.volume(), file, pages(page, page + 1), 1));
  }
  EXPECT_TRUE(bed.clean());
  PageRange rest = kWholeFile;
  unsigned calls = 0;
  while (!rest.empty()) {
    const auto at = remove_extents(bed.volume(), file, rest, 1000);
    ASSERT_TRUE(at) << at.error().message();
    ASSERT_LT(*at, rest.end);
    rest.end = *at;
    if (++calls == 30) {
      bed.set_size(file, at->raw() * kPageBytes);
      EXPECT_TRUE(bed.clean()) << "an interrupted removal leaves a valid file";
    }
  }
  EXPECT_GE(calls, 66u);
  EXPECT_EQ(depth_of(bed, file), 0u);
  EXPECT_EQ(allocated(bed, file), 0u);
  EXPECT_EQ(bed.volume().free_clusters(), free_before);
  bed.set_size(file, 0);
  EXPECT_TRUE(bed.clean());
}

TEST(ExtentLimits, SparseLeavesAreJoinedAndTheTreeGetsShallower) {
  Ext4Bed bed(64 * MiB, "", 1);
  const InodeNumber file = bed.file(0);
  std::vector<Extent> added;
  ASSERT_TRUE(allocate_extents(bed.volume(), file, pages(0, 4000), Initial::unwritten, added));
  for (std::uint64_t page = 0; page < 4000; page += 2) {
    ASSERT_TRUE(mark_written(bed.volume(), file, pages(page, page + 1)));
  }
  EXPECT_EQ(depth_of(bed, file), 2u);
  const std::uint64_t nodes_before = allocated(bed, file) - 4000;
  EXPECT_GE(nodes_before, 12u);
  // All but every hundredth record goes, which leaves 40: a single leaf can hold them.
  for (std::uint64_t page = 0; page < 4000; ++page) {
    if (page % 100 == 0) continue;
    ASSERT_TRUE(remove_extents(bed.volume(), file, pages(page, page + 1), 1));
  }
  EXPECT_EQ(extents_of(bed, file).size(), 40u);
  EXPECT_LE(allocated(bed, file) - 40, 3u) << "nodes that could be joined were kept";
  bed.set_size(file, 4000 * kPageBytes);
  EXPECT_TRUE(bed.clean());
  // Four records fit the inode.
  ASSERT_TRUE(remove_extents(bed.volume(), file, pages(400, 4000), 1000));
  EXPECT_EQ(extents_of(bed, file).size(), 4u);
  EXPECT_EQ(depth_of(bed, file), 0u);
  EXPECT_EQ(allocated(bed, file), 4u);
  EXPECT_TRUE(bed.clean());
}

// Every block of the volume is taken; whatever is asked then fails whole, and what needs no space still works.
TEST(ExtentLimits, AFullVolume) {
  for (const char* options : {"", "-O bigalloc -C 16384"}) {
    Ext4Bed bed(64 * MiB, options, 2);
    Volume& volume = bed.volume();
    std::vector<Extent> added;
    std::uint64_t page = 0;
    for (std::uint64_t step = 4096; step > 0;) {
      const auto status = allocate_extents(volume, bed.file(0), pages(page, page + step), Initial::unwritten, added);
      if (status) {
        page += step;
      } else {
        ASSERT_EQ(status.error().code(), ENOSPC);
        step /= 2;
      }
    }
    EXPECT_GT(page, 10'000u);
    const std::vector<Extent> before = extents_of(bed, bed.file(0));
    // Metadata has blocks kept for it; they go too.
    while (volume.allocate_metadata(0)) continue;
    const std::uint64_t free_before = volume.free_clusters();
    unsigned refused = 0;
    for (std::uint64_t at = 1; at + 1 < page; at += 2) {
      const Status status = mark_written(volume, bed.file(0), pages(at, at + 1));
      if (status) continue;
      ASSERT_EQ(status.error().code(), ENOSPC);
      ++refused;
      break;
    }
    EXPECT_EQ(refused, 1u);
    EXPECT_EQ(volume.free_clusters(), free_before);
    const auto more = allocate_extents(volume, bed.file(1), pages(0, 1), Initial::written, added);
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code(), ENOSPC);
    EXPECT_TRUE(extents_of(bed, bed.file(1)).empty());
    EXPECT_EQ(remove_extents(volume, bed.file(0), kWholeFile, 100000).value().raw(), 0u);
    EXPECT_TRUE(extents_of(bed, bed.file(0)).empty());
  }
}

// Every allocation of an operation fails once, the first, the second and so on, until none does.
TEST(ExtentLimits, AFailureAtEveryAllocationChangesNothing) {
  for (const char* options : {"", "-O bigalloc -C 65536"}) {
    Ext4Bed bed(128 * MiB, options, 2);
    Volume& volume = bed.volume();
    const InodeNumber file = bed.file(0);
    const std::uint64_t ratio = volume.blocks_per_cluster();
    std::vector<Extent> added;
    // Two leaves and a bit, with holes.
    for (std::uint64_t page = 0; page < 700 * 2 * ratio; page += 2 * ratio) {
      ASSERT_TRUE(allocate_extents(volume, file, pages(page, page + ratio), Initial::unwritten, added));
    }
    bed.set_size(file, 1400 * ratio * kPageBytes);
    unsigned failures = 0;
    for (const char* point : {"ext4.extent.node", "ext4.extent.data", "ext4.allocate_metadata", "ext4.allocate_data"}) {
      for (unsigned nth = 1;; ++nth) {
        const std::vector<Extent> before = extents_of(bed, file);
        const std::uint64_t free_before = volume.free_clusters();
        const std::uint64_t blocks_before = allocated(bed, file);
        fault_point::arm(point, nth);
        added.clear();
        // Fills the holes of a third of the file with records that join nothing.
        const auto status = allocate_extents(volume, file, pages(0, 466 * ratio), Initial::written, added);
        fault_point::disarm_all();
        if (status) {
          ASSERT_EQ(remove_extents(volume, file, pages(0, 466 * ratio), 100000).value().raw(), 0u);
          for (std::uint64_t page = 0; page < 466 * ratio; page += 2 * ratio) {
            ASSERT_TRUE(allocate_extents(volume, file, pages(page, page + ratio), Initial::unwritten, added));
          }
          break;
        }
        ++failures;
        ASSERT_EQ(status.error().code(), ENOSPC) << status.error().message();
        ASSERT_TRUE(added.empty());
        ASSERT_EQ(volume.free_clusters(), free_before) << point << " " << nth;
        ASSERT_EQ(allocated(bed, file), blocks_before);
        const std::vector<Extent> after = extents_of(bed, file);
        ASSERT_TRUE(
            std::equal(before.begin(), before.end(), after.begin(), after.end(), [](const Extent& a, const Extent& b) {
              return a.index == b.index && a.pfn == b.pfn && a.count == b.count && a.unwritten == b.unwritten;
            }));
        if (nth % 50 == 1) {
          ASSERT_TRUE(bed.clean()) << point << " " << nth;
        }
      }
    }
    EXPECT_GT(failures, 100u);
    EXPECT_TRUE(bed.clean());
  }
}

TEST(ExtentLimits, MovedBlocksStayWhereTheyAreAndTheCountsFollow) {
  for (const char* options : {"", "-O bigalloc -C 65536"}) {
    Ext4Bed bed(64 * MiB, options, 2);
    Volume& volume = bed.volume();
    const std::uint64_t ratio = volume.blocks_per_cluster();
    std::vector<Extent> added;
    ASSERT_TRUE(allocate_extents(volume, bed.file(0), pages(0, 64), Initial::written, added));
    const std::uint64_t all = allocated(bed, bed.file(0));
    const std::uint64_t block = added[0].pfn.raw();
    bed.set_size(bed.file(0), 64 * kPageBytes);
    bed.set_size(bed.file(1), 1100 * kPageBytes);
    ASSERT_TRUE(move_extents(volume, bed.file(0), pages(16, 48), bed.file(1), PageIndex(1024)));
    EXPECT_EQ(allocated(bed, bed.file(0)) + allocated(bed, bed.file(1)), all);
    EXPECT_EQ(allocated(bed, bed.file(1)), 32u);
    const std::vector<Extent> moved = extents_of(bed, bed.file(1));
    ASSERT_EQ(moved.size(), 1u);
    EXPECT_EQ(moved[0].index.raw(), 1024u);
    EXPECT_EQ(moved[0].pfn.raw(), block + 16);
    EXPECT_TRUE(bed.clean());
    const Status again = move_extents(volume, bed.file(0), pages(0, 16), bed.file(1), PageIndex(1040 / ratio * ratio));
    EXPECT_EQ(again.error().code(), EEXIST);
    EXPECT_EQ(move_extents(volume, bed.file(0), pages(0, 16), bed.file(0), PageIndex(512)).error().code(), EINVAL);
    EXPECT_EQ(
        move_extents(volume, bed.file(0), pages(0, 16), bed.file(1), PageIndex(kLogicalEnd / 16 * 16)).error().code(),
        EFBIG);
    EXPECT_TRUE(bed.clean());
  }
}

TEST(ExtentLimits, PartsOfClustersStay) {
  Ext4Bed bed(64 * MiB, "-O bigalloc -C 65536", 1);
  Volume& volume = bed.volume();
  const InodeNumber file = bed.file(0);
  std::vector<Extent> added;
  ASSERT_TRUE(allocate_extents(volume, file, pages(5, 6), Initial::written, added));
  EXPECT_EQ(allocated(bed, file), 16u) << "a cluster is taken whole";
  const std::uint64_t cluster = added[0].pfn.raw() / 16;
  EXPECT_EQ(added[0].pfn.raw() % 16, 5u);
  // The rest of the cluster costs nothing and comes from the same place, on both sides and over a change of state.
  added.clear();
  ASSERT_TRUE(allocate_extents(volume, file, pages(0, 32), Initial::unwritten, added));
  EXPECT_EQ(allocated(bed, file), 32u);
  for (const Extent& extent : added) {
    if (extent.index.raw() < 16) {
      EXPECT_EQ(extent.pfn.raw() / 16, cluster);
    }
  }
  bed.set_size(file, 32 * kPageBytes);
  EXPECT_TRUE(bed.clean());
  EXPECT_EQ(remove_extents(volume, file, pages(1, 31), 100).value().raw(), 1u);
  EXPECT_EQ(allocated(bed, file), 32u) << "neither cluster is wholly inside";
  EXPECT_EQ(remove_extents(volume, file, pages(1, 32), 100).value().raw(), 1u);
  EXPECT_EQ(allocated(bed, file), 16u);
  EXPECT_TRUE(bed.clean());
  EXPECT_EQ(remove_extents(volume, file, kWholeFile, 100).value().raw(), 0u);
  EXPECT_EQ(allocated(bed, file), 0u);
  EXPECT_TRUE(bed.clean());
}

TEST(ExtentLimits, WhatStaysOfAClusterPastTheEndIsToBeUnwritten) {
  Ext4Bed bed(64 * MiB, "-O bigalloc -C 65536", 1);
  const InodeNumber file = bed.file(0);
  std::vector<Extent> added;
  ASSERT_TRUE(allocate_extents(bed.volume(), file, pages(0, 16), Initial::written, added));
  bed.set_size(file, kPageBytes);
  EXPECT_EQ(remove_extents(bed.volume(), file, {PageIndex(1), kEndOfFile}, 100).value().raw(), 1u);
  bed.commit();
  EXPECT_NE(test::run_program("e2fsck -fn " + bed.image()).status, 0) << "written blocks past the end are an error";
  ASSERT_TRUE(mark_unwritten(bed.volume(), file, {PageIndex(1), kEndOfFile}));
  EXPECT_EQ(extents_of(bed, file).size(), 2u);
  EXPECT_TRUE(bed.clean());
}

// What ext3 wrote can be read, in all three levels of indirection, and not changed.
TEST(ExtentLimits, FilesOfExt3CanBeReadOnly) {
  test::ScratchDirectory tree;
  {
    std::ofstream file(tree.file("old"), std::ios::binary);
    for (const std::uint64_t page : {0ull, 11ull, 12ull, 1035ull, 1036ull, 3000ull, 12ull + 1024 + 1024 * 1024 + 7}) {
      file.seekp(static_cast<std::streamoff>(page * kPageBytes));
      file << "page " << page;
    }
  }
  Ext4Bed bed(64 * MiB, "-O ^extents,^64bit,^metadata_csum", 1, tree.path());
  const InodeNumber old = bed.inode_of("/old");
  std::vector<Extent> found = extents_of(bed, old);
  ASSERT_EQ(found.size(), 7u) << "a block of block numbers lies between any two";
  EXPECT_EQ(found[0].index.raw(), 0u);
  EXPECT_EQ(found[1].index.raw(), 11u);
  EXPECT_EQ(found[6].index.raw(), 12u + 1024 + 1024 * 1024 + 7);
  for (const Extent& extent : found) {
    const char* const bytes = reinterpret_cast<const char*>(bed.volume().device().at(extent.pfn));
    EXPECT_EQ(std::string(bytes), "page " + std::to_string(extent.index.raw()));
  }
  found.clear();
  ASSERT_TRUE(find_extents(bed.volume(), old, pages(12, 1036), found));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].index.raw(), 12u);
  EXPECT_EQ(found[1].index.raw(), 1035u);
  std::vector<Extent> added;
  const auto allocate = allocate_extents(bed.volume(), old, pages(1, 2), Initial::written, added);
  ASSERT_FALSE(allocate);
  EXPECT_EQ(allocate.error().code(), EOPNOTSUPP);
  EXPECT_NE(allocate.error().remedy().find("bmap2extent"), std::string::npos);
  EXPECT_EQ(remove_extents(bed.volume(), old, pages(0, 1), 1).error().code(), EOPNOTSUPP);
  EXPECT_EQ(mark_written(bed.volume(), old, pages(0, 1)).error().code(), EOPNOTSUPP);
  EXPECT_TRUE(bed.clean());
}

}  // namespace
}  // namespace holdfast::ext4
