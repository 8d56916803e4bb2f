// Extent trees against a model: an array that says for each page of a file which block it has and whether it reads as
// zeros. Method: seeded random changes to several files at once, with and without large clusters and with failures in
// between; after every change the tree must say what the array says, and at the end e2fsck must agree.
#include "ext4/extent_tree.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/fault_point.h"
#include "ext4/extent_node.h"
#include "support/ext4_bed.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Extent;
using filesystem::Initial;
using test::Ext4Bed;

constexpr std::uint64_t kFilePages = 3000;

struct Cell {
  std::uint64_t pfn = 0;  // 0: a hole
  bool unwritten = false;

  bool operator==(const Cell& other) const = default;
};

using FileModel = std::vector<Cell>;

PageRange pages(std::uint64_t first, std::uint64_t end) { return {PageIndex(first), PageIndex(end)}; }

class ExtentModel {
 public:
  ExtentModel(Ext4Bed& bed, unsigned files, std::uint32_t seed)
      : bed_(bed), models_(files, FileModel(kFilePages)), random_(seed) {
    ratio_ = bed_.volume().blocks_per_cluster();
    free_at_first_ = bed_.volume().free_clusters();
  }

  void step() {
    const auto file = static_cast<unsigned>(below(models_.size()));
    if (below(30) == 0) return comb(file);
    switch (below(8)) {
      case 0:
      case 1:
      case 2:
        return allocate(file);
      case 3:
        return set_state(file, false);
      case 4:
        return set_state(file, true);
      case 5:
      case 6:
        return remove(file);
      default:
        return move(file);
    }
  }

  void remove_everything() {
    for (unsigned file = 0; file < models_.size(); ++file) {
      const auto at = remove_extents(volume(), inode(file), {PageIndex(0), kEndOfFile}, 1000000);
      ASSERT_TRUE(at) << at.error().message();
      EXPECT_EQ(at->raw(), 0u);
      models_[file].assign(kFilePages, Cell{});
      check(file);
    }
    EXPECT_EQ(volume().free_clusters(), free_at_first_) << "blocks or nodes were lost";
  }

  // What the run met, so that a run that meets nothing is seen.
  struct Met {
    unsigned failures = 0;
    unsigned moves = 0;
    unsigned collisions = 0;
    unsigned depth = 0;
    std::size_t extents = 0;
  };
  const Met& met() const { return met_; }

  // No block belongs to two files, and i_size covers what is written.
  void settle() {
    std::set<std::uint64_t> owned;
    for (unsigned file = 0; file < models_.size(); ++file) {
      std::uint64_t end = 0;
      for (std::uint64_t page = 0; page < kFilePages; ++page) {
        const Cell& cell = models_[file][page];
        if (cell.pfn == 0) continue;
        EXPECT_TRUE(owned.insert(cell.pfn).second) << "block " << cell.pfn << " has two owners";
        end = page + 1;
      }
      bed_.set_size(inode(file), end * kPageBytes);
    }
  }

 private:
  Volume& volume() { return bed_.volume(); }
  InodeNumber inode(unsigned file) { return bed_.file(file); }
  std::uint64_t below(std::uint64_t n) { return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random_); }

  PageRange some_range() {
    const std::uint64_t most = below(30) == 0 ? kFilePages : below(3) == 0 ? 200 : 12;
    const std::uint64_t count = 1 + below(most);
    const std::uint64_t first = below(kFilePages - count + 1);
    return pages(first, first + count);
  }

  // One change in four meets a failure somewhere inside.
  bool maybe_fail() {
    if (below(4) != 0) return false;
    const char* const points[] = {"ext4.extent.node", "ext4.extent.data", "ext4.allocate_metadata",
                                  "ext4.allocate_data"};
    fault_point::arm(points[below(4)], static_cast<unsigned>(1 + below(3)));
    return true;
  }

  void allocate(unsigned file) {
    const PageRange range = some_range();
    const bool unwritten = below(2) == 0;
    std::vector<Extent> added;
    const bool armed = maybe_fail();
    const auto status =
        allocate_extents(volume(), inode(file), range, unwritten ? Initial::unwritten : Initial::written, added);
    fault_point::disarm_all();
    if (!status) {
      ASSERT_TRUE(armed) << status.error().message();
      ASSERT_EQ(status.error().code(), ENOSPC) << status.error().message();
      EXPECT_TRUE(added.empty());
      ++met_.failures;
      return check(file);
    }
    FileModel& model = models_[file];
    for (const Extent& extent : added) {
      ASSERT_EQ(extent.unwritten, unwritten);
      for (std::uint64_t i = 0; i < extent.count.raw(); ++i) {
        const std::uint64_t page = extent.index.raw() + i;
        ASSERT_TRUE(range.contains(PageIndex(page)));
        ASSERT_EQ(model[page].pfn, 0u) << "page " << page << " had a block";
        model[page] = {extent.pfn.raw() + i, unwritten};
      }
    }
    for (std::uint64_t page = range.first.raw(); page < range.end.raw(); ++page) {
      ASSERT_NE(model[page].pfn, 0u) << "page " << page << " got none";
    }
    check(file);
  }

  void set_state(unsigned file, bool unwritten) {
    const PageRange range = some_range();
    const bool armed = maybe_fail();
    const auto status =
        unwritten ? mark_unwritten(volume(), inode(file), range) : mark_written(volume(), inode(file), range);
    fault_point::disarm_all();
    if (!status) {
      ASSERT_TRUE(armed) << status.error().message();
      ASSERT_EQ(status.error().code(), ENOSPC);
      ++met_.failures;
    } else {
      for (std::uint64_t page = range.first.raw(); page < range.end.raw(); ++page) {
        if (models_[file][page].pfn != 0) models_[file][page].unwritten = unwritten;
      }
    }
    check(file);
  }

  // Every second page of a long range changes its state or goes: as many records as there can be.
  void comb(unsigned file) {
    const std::uint64_t count = 1500 + below(1400);
    const std::uint64_t first = below(kFilePages - count);
    const bool whole_first = below(2) == 0;
    const std::uint64_t kind = below(4);
    if (whole_first) {
      std::vector<Extent> added;
      const auto initial = kind == 0 ? Initial::unwritten : Initial::written;
      ASSERT_TRUE(allocate_extents(volume(), inode(file), pages(first, first + count), initial, added));
      for (const Extent& extent : added) {
        for (std::uint64_t i = 0; i < extent.count.raw(); ++i) {
          models_[file][extent.index.raw() + i] = {extent.pfn.raw() + i, extent.unwritten};
        }
      }
    }
    for (std::uint64_t page = first; page < first + count; page += 2) {
      const PageRange range = pages(page, page + 1);
      Cell& cell = models_[file][page];
      if (kind == 3) {
        ASSERT_TRUE(remove_extents(volume(), inode(file), range, 1));
        if (ratio_ == 1) cell = Cell{};
      } else {
        const bool unwritten = kind != 0;
        ASSERT_TRUE(unwritten ? mark_unwritten(volume(), inode(file), range)
                              : mark_written(volume(), inode(file), range));
        if (cell.pfn != 0) cell.unwritten = unwritten;
      }
    }
    check(file);
  }

  // The whole clusters of a range.
  PageRange whole(PageRange range) const {
    return pages(round_up(range.first.raw(), ratio_), round_down(range.end.raw(), ratio_));
  }

  void remove(unsigned file) {
    PageRange range = some_range();
    if (below(10) == 0) range.end = kEndOfFile;
    const auto at_most = static_cast<std::uint32_t>(1 + below(20));
    while (!range.empty()) {
      maybe_fail();
      const auto at = remove_extents(volume(), inode(file), range, at_most);
      fault_point::disarm_all();
      if (!at) {
        ASSERT_EQ(at.error().code(), ENOSPC) << at.error().message();
        ++met_.failures;
        return check(file);
      }
      ASSERT_LT(*at, range.end);
      ASSERT_GE(*at, range.first);
      const PageRange gone =
          whole({*at, range.end == kEndOfFile ? PageIndex(round_up(kFilePages, ratio_)) : range.end});
      for (std::uint64_t page = gone.first.raw(); page < std::min(gone.end.raw(), kFilePages); ++page) {
        models_[file][page] = Cell{};
      }
      check(file);
      range.end = *at;
      if (*at == range.first) break;
    }
  }

  void move(unsigned from) {
    if (models_.size() < 2) return;
    const auto to = static_cast<unsigned>((from + 1 + below(models_.size() - 1)) % models_.size());
    const PageRange range = some_range();
    // Somewhere else, at the same place inside a cluster.
    const std::uint64_t shift = below((kFilePages - range.count().raw()) / ratio_ + 1) * ratio_;
    const std::uint64_t to_first = range.first.raw() % ratio_ + shift;
    if (to_first + range.count().raw() > kFilePages) return;
    const PageRange taken = whole(range);
    std::uint64_t first = kFilePages;
    std::uint64_t end = 0;
    for (std::uint64_t page = taken.first.raw(); page < taken.end.raw(); ++page) {
      if (models_[from][page].pfn == 0) continue;
      first = std::min(first, page);
      end = page + 1;
    }
    const std::uint64_t offset = to_first - range.first.raw();  // may wrap: only ever added
    bool collides = false;
    for (std::uint64_t page = round_down(first, ratio_); page < std::min(round_up(end, ratio_), kFilePages); ++page) {
      const std::uint64_t place = page + offset;
      collides = collides || (place < kFilePages && models_[to][place].pfn != 0);
    }
    const bool armed = maybe_fail();
    const Status status = move_extents(volume(), inode(from), range, inode(to), PageIndex(to_first));
    fault_point::disarm_all();
    if (!status) {
      const int code = status.error().code();
      ASSERT_TRUE((code == EEXIST && collides) || (code == ENOSPC && armed)) << status.error().message();
      ++(code == EEXIST ? met_.collisions : met_.failures);
    } else {
      ASSERT_FALSE(collides);
      if (end != 0) ++met_.moves;
      for (std::uint64_t page = first; page < end; ++page) {
        if (models_[from][page].pfn == 0) continue;
        models_[to][page + offset] = models_[from][page];
        models_[from][page] = Cell{};
      }
    }
    check(from);
    check(to);
  }

  void check(unsigned file) {
    const PageRange range = below(2) == 0 ? some_range() : PageRange{PageIndex(0), kEndOfFile};
    std::vector<Extent> found;
    const Status status = find_extents(volume(), inode(file), range, found);
    ASSERT_TRUE(status) << status.error().message();
    met_.extents = std::max(met_.extents, found.size());
    met_.depth = std::max(met_.depth, root_depth(volume(), inode(file), *volume().inode(inode(file)).value()).value());
    FileModel seen(kFilePages);
    PageIndex last = range.first;
    for (const Extent& extent : found) {
      ASSERT_GE(extent.index, last) << "out of order";
      last = extent.index + extent.count;
      ASSERT_LE(last, range.end);
      ASSERT_LE(last.raw(), kFilePages);
      for (std::uint64_t i = 0; i < extent.count.raw(); ++i) {
        seen[extent.index.raw() + i] = {extent.pfn.raw() + i, extent.unwritten};
      }
    }
    const std::uint64_t end = std::min(range.end.raw(), kFilePages);
    for (std::uint64_t page = range.first.raw(); page < end; ++page) {
      ASSERT_EQ(seen[page], models_[file][page]) << "file " << file << " page " << page << ": block " << seen[page].pfn
                                                 << " instead of " << models_[file][page].pfn;
    }
  }

  Ext4Bed& bed_;
  std::vector<FileModel> models_;
  std::mt19937_64 random_;
  std::uint64_t ratio_ = 1;
  std::uint64_t free_at_first_ = 0;
  Met met_;
};

struct Case {
  const char* name;
  const char* options;  // of mke2fs
  std::uint32_t seed;
};

class ExtentTreeModel : public testing::TestWithParam<Case> {};

TEST_P(ExtentTreeModel, SaysWhatTheModelSays) {
  Ext4Bed bed(256 * MiB, GetParam().options, 3);
  ExtentModel model(bed, 3, GetParam().seed);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 400; ++i) {
      model.step();
      ASSERT_FALSE(testing::Test::HasFatalFailure()) << "round " << round << " step " << i;
    }
    model.settle();
    ASSERT_TRUE(bed.clean());
    if (round % 2 == 1) bed.reopen();
  }
  model.remove_everything();
  model.settle();
  EXPECT_TRUE(bed.clean());
  const ExtentModel::Met& met = model.met();
  EXPECT_GT(met.failures, 10u);
  EXPECT_GT(met.moves, 10u);
  EXPECT_GT(met.collisions, 10u);
  EXPECT_GE(met.depth, 2u) << "no index node was ever needed";
  EXPECT_GT(met.extents, kRootEntries * kNodeEntries);
}

INSTANTIATE_TEST_SUITE_P(Volumes, ExtentTreeModel,
                         testing::Values(Case{"plain", "", 1}, Case{"plain2", "", 2},
                                         Case{"without_checksums", "-O ^metadata_csum,^64bit", 3},
                                         Case{"clusters_64k", "-O bigalloc -C 65536", 4},
                                         Case{"clusters_16k", "-O bigalloc -C 16384", 5}),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace holdfast::ext4
