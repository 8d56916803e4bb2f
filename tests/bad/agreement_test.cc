// Goal: `holdfast check`, without e2fsck, and `e2fsck -fn` agree on every image whether there is an error in it.
// Method: sound pools of every flavour that a mount reads, with one of everything in them; each damage by a seed, both
// are asked, and a difference prints the seed and what was damaged. HOLDFAST_AGREEMENT_IMAGES (of each flavour) and
// HOLDFAST_SEED ask for a long run.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <sstream>

#include <holdfast/holdfast.h>

#include "bad/image_damage.h"
#include "support/environment.h"
#include "support/program.h"
#include "support/skip.h"

namespace holdfast::test {
namespace {

constexpr unsigned kImages = 40;  // of each flavour, in every test run
constexpr int kTimedOut = 124;
constexpr int kKilled = 137;

struct Flavour {
  const char* name;
  const char* mke2fs;  // its options; null: holdfast mkfs
  const char* size;
  bool writable = true;  // by a mount of ours
};

void PrintTo(const Flavour& flavour, std::ostream* out) { *out << flavour.name; }

constexpr Flavour kFlavours[] = {
    {"ours", nullptr, "24M"},
    {"plain", "-O ^metadata_csum,^has_journal,^64bit,^resize_inode -N 2048", "16M"},
    {"old_checksums", "-O ^metadata_csum,uninit_bg,^has_journal -g 1024 -N 2048", "24M"},
    {"groups", "-O ^has_journal -g 512 -N 4096 -G 4", "24M"},
    {"small_inodes", "-O ^has_journal,^64bit -I 128 -N 2048", "16M"},
    {"clusters", "-O ^has_journal,bigalloc -C 16384 -N 2048", "24M"},
    {"orphan_file", "-O orphan_file -J size=4 -N 2048", "24M"},
    {"block_maps", "-O ^extent,^64bit,^metadata_csum,^has_journal -N 2048", "16M", false},
};

int e2fsck(const std::string& pool, std::string& said) {
  return shell("PATH=$PATH:/sbin:/usr/sbin LC_ALL=C timeout -k 1 30 e2fsck -fn '" + pool + "'", &said);
}

// Questions before the first pass are about superblock and descriptors. The exit status forgets their answers.
bool asks_before_passes(const std::string& said) {
  const std::string before = said.substr(0, said.find("Pass 1"));
  return before.find("? no") != std::string::npos || before.find("trying backup") != std::string::npos;
}

// Damage that e2fsck overlooks, and that neither we nor the kernel can read over: said in one of these words.
constexpr const char* kOverlooked[] = {
    ": depth is ",  // of a node of an extent tree that says another one than its place
    // It marks tables of groups that have no bitmap yet in those of others, before it looks at them.
    "its block bitmap calls metadata free",
};

// Whether all that check found is such.
bool overlooked(const std::string& ours) {
  std::istringstream lines(ours);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(": damaged: ") != std::string::npos || line.find(": e2fsck not asked") != std::string::npos) continue;
    const bool known = std::any_of(std::begin(kOverlooked), std::end(kOverlooked),
                                   [&line](const char* words) { return line.find(words) != std::string::npos; });
    if (!known) return false;
  }
  return true;
}

class Agreement : public ::testing::TestWithParam<Flavour> {
 protected:
  Agreement() : scratch_(tmpfs_parent().empty() ? disk_parent() : tmpfs_parent()), pool_(scratch_.file("pool")) {}

  void SetUp() override {
    if (shell("PATH=$PATH:/sbin:/usr/sbin command -v e2fsck mke2fs") != 0) {
      HF_SKIP_CAPABILITY("e2fsprogs", "e2fsck or mke2fs is not installed");
    }
    make();
    std::string said;
    ASSERT_EQ(e2fsck(pool_, said), 0) << said;
    const Said ours = holdfast({"check", "--no-e2fsck", pool_});
    ASSERT_EQ(ours.code, 0) << ours.out << ours.err;
  }

  void make() {
    const Flavour& flavour = GetParam();
    if (flavour.mke2fs == nullptr) {
      ASSERT_EQ(holdfast({"mkfs", pool_, "--size", flavour.size}).code, 0);
    } else {
      make_tree(scratch_.file("tree"));
      std::string said;
      const std::string command =
          fmt::format("PATH=$PATH:/sbin:/usr/sbin mke2fs -q -F -t ext4 -b 4096 {} -d '{}' '{}' {}", flavour.mke2fs,
                      scratch_.file("tree"), pool_, flavour.size);
      ASSERT_EQ(shell(command, &said), 0) << said;
    }
    if (flavour.writable) fill();
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

  void judge(ImageDamage& damage, std::uint32_t seed) {
    const std::string what = damage.apply(seed);
    std::string said;
    const int theirs = e2fsck(pool_, said);
    if (theirs == kTimedOut || theirs == kKilled) {
      ++unjudged_;
      return;
    }
    const Said ours = holdfast({"check", "--no-e2fsck", pool_});
    EXPECT_TRUE(ours.code == 0 || ours.code == 4 || ours.code == 8) << what << ": " << ours.code;
    const bool they_find = theirs != 0 || asks_before_passes(said);
    if ((ours.code != 0) == they_find) {
      ++(they_find ? both_find_ : both_clean_);
      return;
    }
    if (theirs == 0 && ours.code == 4 && overlooked(ours.out)) {
      ++overlooked_;
      return;
    }
    ++(they_find ? they_alone_ : we_alone_);
    ADD_FAILURE() << GetParam().name << " seed " << seed << ": " << what << "\ne2fsck ended with " << theirs << ":\n"
                  << said.substr(0, 2000) << "\ncheck ended with " << ours.code << ":\n"
                  << (ours.out + ours.err).substr(0, 2000);
  }

  ScratchDirectory scratch_;
  std::string pool_;
  unsigned both_find_ = 0;
  unsigned both_clean_ = 0;
  unsigned they_alone_ = 0;
  unsigned we_alone_ = 0;
  unsigned overlooked_ = 0;  // by e2fsck, as is known
  unsigned unjudged_ = 0;
};

TEST_P(Agreement, OfDamagedImages) {
  const auto first = static_cast<std::uint32_t>(from_environment("HOLDFAST_SEED", 1));
  const auto images = static_cast<std::uint32_t>(from_environment("HOLDFAST_AGREEMENT_IMAGES", kImages));
  ImageDamage damage(pool_);
  for (std::uint32_t seed = first; seed < first + images; ++seed) judge(damage, seed);
  std::cout << fmt::format(
      "{}: {} found by both, {} clean to both, {} e2fsck alone, {} check alone, {} overlooked by "
      "e2fsck as is known, {} not judged\n",
      GetParam().name, both_find_, both_clean_, they_alone_, we_alone_, overlooked_, unjudged_);
}

std::string name_of(const ::testing::TestParamInfo<Flavour>& parameter) { return parameter.param.name; }

INSTANTIATE_TEST_SUITE_P(Flavours, Agreement, ::testing::ValuesIn(kFlavours), name_of);

}  // namespace
}  // namespace holdfast::test
