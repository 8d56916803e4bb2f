// Goal: Filesystem::verify finds by itself what e2fsck finds of the links between structures: a node of extents and its
// parent, an index of names and its leaves, names and counts of links, maps and bitmaps. Method: one link at a time is
// cut in a sound image, with the checksums made right again; both are asked. (The command walks the tree by name, too,
// and so hides what verify alone would overlook.)
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <holdfast/holdfast.h>

#include "bad/image_places.h"
#include "bad/judge.h"
#include "ext4/extent_node.h"
#include "support/program.h"
#include "support/scratch.h"
#include "support/skip.h"

namespace holdfast::test {
namespace {

// Cuts, each of which says false where it finds no place for itself.
class Cuts : public ImagePlaces {
 public:
  using ImagePlaces::ImagePlaces;
  using ImagePlaces::load;
  using ImagePlaces::undo;

  template <typename T>
  void change(const Place& place, std::uint64_t at, const std::function<T(T)>& change) {
    const T value = change(load<T>(place.at + at));
    store(place.at + at, &value, sizeof value);
    ASSERT_TRUE(seal(place));
  }
  template <typename T>
  void add(const Place& place, std::uint64_t at, int difference) {
    change<T>(place, at, [difference](T old) { return static_cast<T>(std::int64_t{old} + difference); });
  }

  // Leaves of one tree, in the order of the file.
  std::vector<Place> leaves() const {
    std::vector<Place> found;
    for (const Place& place : places(Kind::extents)) {
      if (load<ext4::ExtentHeader>(place.at).depth == 0) found.push_back(place);
    }
    std::sort(found.begin(), found.end(), [this](const Place& a, const Place& b) { return key(a, 0) < key(b, 0); });
    return found;
  }
  std::uint32_t key(const Place& leaf, std::size_t entry) const {
    return load<std::uint32_t>(leaf.at + 12 + entry * 12);
  }
  std::uint16_t entries(const Place& leaf) const { return load<ext4::ExtentHeader>(leaf.at).entries; }
  const Place& inode(std::uint32_t number) const {
    const std::vector<Place>& all = places(Kind::inode);
    return *std::find_if(all.begin(), all.end(), [number](const Place& place) { return place.owner == number; });
  }
  const Place& index() const { return places(Kind::index).front(); }
  const Place& directory() const { return places(Kind::directory).front(); }
  const Place& block_bitmap() const { return places(Kind::block_bitmap).front(); }
  const Place& inode_bitmap() const { return places(Kind::inode_bitmap).front(); }
};

class VerifyAlone : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_e2fsprogs()) HF_SKIP_CAPABILITY("e2fsprogs", "e2fsck or mke2fs is not installed");
    ASSERT_EQ(holdfast({"mkfs", pool_, "--size", "24M"}).code, 0);
    Filesystem fs = Filesystem::mount(Device::open(pool_).value()).value();
    {
      File pieces = fs.open("/pieces", Open::read_write | Open::create).value();
      pieces.allocate(0, 1000 * 4 * KiB).value();
      for (std::uint64_t block = 0; block < 1000; block += 2) {
        pieces.write(block * 4 * KiB, std::as_bytes(std::span("t"))).value();
      }
      pieces_ = pieces.stat()->inode;
    }
    fs.make_directory("/many").value();
    one_ = fs.open("/one", Open::read_write | Open::create)->stat()->inode;
    for (int i = 0; i < 900; ++i) fs.link("/one", fmt::format("/many/{:060d}", i)).value();
    many_ = fs.stat("/many")->inode;
    fs.unmount().value();
    EXPECT_EQ(verify(), "");
  }

  // The first problem.
  std::string verify() const {
    const Result<Filesystem> fs = Filesystem::mount(Device::open_read_only(pool_).value(), {.read_only = true});
    if (!fs) return fs.error().message();
    const Result<VerifyReport> report = fs->verify();
    if (!report) return report.error().message();
    return report->sound() ? std::string() : report->problems.front();
  }

  void cut(const char* what, const std::function<void(Cuts&)>& damage) {
    SCOPED_TRACE(what);
    Cuts cuts(pool_);
    damage(cuts);
    std::string said;
    EXPECT_NE(e2fsck(pool_, said), 0) << "it is no damage to e2fsck";
    EXPECT_NE(verify(), "");
    cuts.undo();
  }

  const ScratchDirectory scratch_{tmpfs_parent().empty() ? disk_parent() : tmpfs_parent()};
  const std::string pool_ = scratch_.file("pool");
  std::uint32_t pieces_ = 0;
  std::uint32_t one_ = 0;
  std::uint32_t many_ = 0;
};

TEST_F(VerifyAlone, TreesOfExtents) {
  cut("a leaf begins before its parent says", [](Cuts& image) { image.add<std::uint32_t>(image.leaves()[1], 12, -1); });
  cut("a leaf begins after", [](Cuts& image) {
    const auto leaf = image.leaves()[1];
    image.add<std::uint32_t>(leaf, 12, 1);
    image.add<std::uint16_t>(leaf, 12 + 4, -1);
  });
  cut("a leaf reaches into the next", [](Cuts& image) {
    const auto leaf = image.leaves()[0];
    image.add<std::uint16_t>(leaf, 12 + (image.entries(leaf) - 1U) * 12 + 4, 5);
  });
  cut("two records overlap", [](Cuts& image) { image.add<std::uint32_t>(image.leaves()[0], 12 + 12, -1); });
  cut("two records have the same blocks",
      [](Cuts& image) { image.add<std::uint32_t>(image.leaves()[0], 12 + 12 + 8, -1); });
  cut("a leaf without records", [](Cuts& image) {
    image.change<std::uint16_t>(image.leaves()[0], 2, [](std::uint16_t) { return std::uint16_t{0}; });
  });
}

TEST_F(VerifyAlone, IndexesAndNames) {
  cut("an index of another depth", [](Cuts& image) { image.add<std::uint8_t>(image.index(), 0x1E, 1); });
  cut("hashes out of order",
      [](Cuts& image) { image.change<std::uint32_t>(image.index(), 0x28, [](std::uint32_t) { return 0xFFFFFFF0U; }); });
  cut("two entries for one leaf", [](Cuts& image) {
    const auto block = image.load<std::uint32_t>(image.index().at + 0x2C);
    image.change<std::uint32_t>(image.index(), 0x34, [block](std::uint32_t) { return block; });
  });
  cut("the parent of a directory", [](Cuts& image) { image.add<std::uint32_t>(image.index(), 12, 9); });
}

TEST_F(VerifyAlone, CountsAndBitmaps) {
  cut("links of a file", [this](Cuts& image) { image.add<std::uint16_t>(image.inode(one_), 26, -1); });
  cut("links of a directory", [this](Cuts& image) { image.add<std::uint16_t>(image.inode(many_), 26, 1); });
  cut("blocks of a file", [this](Cuts& image) { image.add<std::uint32_t>(image.inode(pieces_), 28, 8); });
  cut("a size in front of the last written block", [this](Cuts& image) {
    image.change<std::uint32_t>(image.inode(pieces_), 4, [](std::uint32_t) { return 4096U; });
  });
  cut("a used block that is free", [](Cuts& image) {
    const auto block = image.load<std::uint32_t>(image.leaves()[0].at + 12 + 8);
    image.change<std::uint8_t>(image.block_bitmap(), block / 8, [block](std::uint8_t bits) {
      return static_cast<std::uint8_t>(bits & ~(1U << block % 8));
    });
  });
  cut("a used inode that is free", [this](Cuts& image) {
    const std::uint32_t bit = one_ - 1;
    image.change<std::uint8_t>(image.inode_bitmap(), bit / 8,
                               [bit](std::uint8_t bits) { return static_cast<std::uint8_t>(bits & ~(1U << bit % 8)); });
  });
}

}  // namespace
}  // namespace holdfast::test
