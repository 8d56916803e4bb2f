// Goal: `holdfast check`, without e2fsck, and `e2fsck -fn` agree on every image whether there is an error in it.
// Method: sound pools of every flavour that a mount reads, with one of everything in them; each damage by a seed, both
// are asked, and a difference prints the seed and what was damaged. HOLDFAST_AGREEMENT_IMAGES (of each flavour) and
// HOLDFAST_SEED ask for a long run.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>

#include <holdfast/holdfast.h>

#include "bad/image_damage.h"
#include "bad/judge.h"
#include "bad/made_image.h"
#include "support/environment.h"
#include "support/program.h"
#include "support/skip.h"

namespace holdfast::test {
namespace {

constexpr unsigned kImages = 40;       // of each flavour, in every test run
constexpr unsigned kSuperblocks = 30;  // likewise

struct Flavour {
  const char* name;
  const char* mke2fs;  // its options; null: holdfast mkfs
  std::uint64_t bytes;
  bool writable = true;  // by a mount of ours
  bool deep = false;     // has trees of two levels below their roots
};

void PrintTo(const Flavour& flavour, std::ostream* out) { *out << flavour.name; }

constexpr Flavour kFlavours[] = {
    {"ours", nullptr, 24 * MiB},
    {"plain", "-O ^metadata_csum,^has_journal,^64bit,^resize_inode -N 2048", 16 * MiB},
    {"old_checksums", "-O ^metadata_csum,uninit_bg,^has_journal -g 1024 -N 2048", 24 * MiB},
    {"groups", "-O ^has_journal -g 512 -N 4096 -G 4", 24 * MiB},
    {"small_inodes", "-O ^has_journal,^64bit -I 128 -N 2048", 16 * MiB},
    {"clusters", "-O ^has_journal,bigalloc -C 16384 -N 2048", 24 * MiB},
    {"orphan_file", "-O orphan_file -J size=4 -N 2048", 24 * MiB},
    {"deep", nullptr, 32 * MiB, true, true},
    {"block_maps", "-O ^extent,^64bit,^metadata_csum,^has_journal -N 2048", 16 * MiB, false},
};

class Agreement : public ::testing::TestWithParam<Flavour> {
 protected:
  Agreement() : scratch_(tmpfs_parent().empty() ? disk_parent() : tmpfs_parent()), pool_(scratch_.file("pool")) {}

  void SetUp() override {
    if (!has_e2fsprogs()) HF_SKIP_CAPABILITY("e2fsprogs", "e2fsck or mke2fs is not installed");
    make();
    std::string said;
    ASSERT_EQ(e2fsck(pool_, said), 0) << said;
    const Said ours = holdfast({"check", "--no-e2fsck", pool_});
    ASSERT_EQ(ours.code, 0) << ours.out << ours.err;
  }

  void make() {
    const Flavour& flavour = GetParam();
    if (flavour.mke2fs == nullptr) {
      make_image(pool_, flavour.bytes);
    } else {
      const std::string tree = scratch_.file("tree");
      make_tree(tree);
      std::string said;
      const std::string options = fmt::format("{} -d '{}'", flavour.mke2fs, tree);
      ASSERT_TRUE(make_image_by_mke2fs(pool_, options, flavour.bytes, said)) << said;
    }
    if (flavour.writable) fill();
    if (flavour.deep) fill_deep();
    ImagePlaces places(pool_);
    places.settle();
    if (!flavour.deep) return;
    ASSERT_EQ(places.extent_levels(), 2U);
    ASSERT_EQ(places.index_levels(), 2U);
  }

  static void make_tree(const std::string& top) {
    namespace fs = std::filesystem;
    fs::create_directories(top + "/given/deep/er");
    for (int i = 0; i < 120; ++i) write_file(top + fmt::format("/given/a-name-of-some-length-{:05d}", i), "x");
    write_file(top + "/given/large", std::string(300000, 'l'));
    fs::create_symlink("large", top + "/given/link");
    fs::create_symlink(std::string(200, 's'), top + "/given/long-link");
    fs::create_hard_link(top + "/given/large", top + "/given/deep/second");
    shell("mkfifo '" + top + "/given/fifo'");
    shell("setfattr -n user.small -v v '" + top + "/given/large'");
    shell("setfattr -n user.big -v " + std::string(900, 'v') + " '" + top + "/given/deep'");
  }

  // Through a mount of ours: an index of names, trees of extents, attributes in inodes and blocks.
  void fill() {
    Filesystem fs = Filesystem::mount(Device::open(pool_).value()).value();
    ASSERT_TRUE(fs.make_directory("/many"));
    ASSERT_TRUE(fs.make_directory("/many/sub"));
    ASSERT_TRUE(fs.open("/one", Open::read_write | Open::create));
    for (int i = 0; i < 900; ++i) ASSERT_TRUE(fs.link("/one", fmt::format("/many/{:060d}", i)));
    {
      File pieces = fs.open("/pieces", Open::read_write | Open::create).value();
      ASSERT_TRUE(pieces.allocate(0, 2 * MiB));
      for (std::uint64_t at = 0; at < 64; ++at) ASSERT_TRUE(pieces.punch(at * 32768, 16384));
      const std::string text(5000, 't');
      ASSERT_TRUE(pieces.write(MiB, std::as_bytes(std::span(text))));
      File empty = fs.open("/preallocated", Open::read_write | Open::create).value();
      ASSERT_TRUE(empty.allocate(0, 65536));
      ASSERT_TRUE(empty.truncate(100));
    }
    ASSERT_TRUE(fs.symlink("one", "/short"));
    ASSERT_TRUE(fs.symlink(std::string(100, 'p'), "/long"));
    ASSERT_TRUE(fs.make_node("/fifo", {}));
    ASSERT_TRUE(fs.make_node("/device", {.kind = FileKind::block_device, .device_major = 8, .device_minor = 1}));
    ASSERT_TRUE(fs.set_attribute("/one", "user.small", "value"));
    ASSERT_TRUE(fs.set_attribute("/pieces", "user.big", std::string(1500, 'b')));
    ASSERT_TRUE(fs.set_attribute("/many", "user.big", std::string(700, 'b')));
    ASSERT_TRUE(fs.unmount());
  }

  void fill_deep() {
    constexpr std::uint64_t kBlock = 4096;
    Filesystem fs = Filesystem::mount(Device::open(pool_).value()).value();
    {
      File pieces = fs.open("/1600-pieces", Open::read_write | Open::create).value();
      ASSERT_TRUE(pieces.allocate(0, 1600 * kBlock));
      for (std::uint64_t block = 0; block < 1600; block += 2) {
        ASSERT_TRUE(pieces.write(block * kBlock, std::as_bytes(std::span("t"))));
      }
    }
    ASSERT_TRUE(fs.make_directory("/most"));
    for (int i = 0; i < 6500; ++i) ASSERT_TRUE(fs.link("/one", fmt::format("/most/{:0250d}", i)));
    ASSERT_TRUE(fs.unmount());
  }

  template <typename Apply>
  void judge_images(std::uint64_t images, Apply apply) {
    const auto first = static_cast<std::uint32_t>(from_environment("HOLDFAST_SEED", 1));
    Judge judge(GetParam().name);
    for (std::uint32_t seed = first; seed < first + images; ++seed) {
      const std::string what = fmt::format("seed {}: {}", seed, apply(seed));
      const Said ours = holdfast({"check", "--no-e2fsck", pool_});
      EXPECT_TRUE(ours.code == 0 || ours.code == 4 || ours.code == 8) << what << ": " << ours.code;
      judge.judge(pool_, ours, what);
    }
    std::cout << judge.counts();
  }

  ScratchDirectory scratch_;
  std::string pool_;
};

TEST_P(Agreement, OfDamagedImages) {
  ImageDamage damage(pool_);
  judge_images(from_environment("HOLDFAST_AGREEMENT_IMAGES", kImages),
               [&damage](std::uint32_t seed) { return damage.apply(seed); });
}

// Few programs get it wrong, and each field of it means another thing.
TEST_P(Agreement, OfDamagedSuperblocks) {
  ImageDamage damage(pool_);
  judge_images(from_environment("HOLDFAST_AGREEMENT_IMAGES", kSuperblocks),
               [&damage](std::uint32_t seed) { return damage.apply_to_superblock(seed); });
}

std::string name_of(const ::testing::TestParamInfo<Flavour>& parameter) { return parameter.param.name; }

INSTANTIATE_TEST_SUITE_P(Flavours, Agreement, ::testing::ValuesIn(kFlavours), name_of);

}  // namespace
}  // namespace holdfast::test
