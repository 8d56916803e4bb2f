// Goal: no image, however damaged, makes the program crash, hang, or change a byte of a pool that it only reads; what
// is wrong is said in lines that begin with "holdfast: "; and check, without e2fsck, finds damage where e2fsck does.
// Method: a sound image with one of everything, with and without checksums; one structure is damaged at a time, and the
// real program runs its commands on it in processes of their own, with a limit of time. HOLDFAST_BAD_IMAGES (of each
// flavour) and HOLDFAST_SEED ask for a long run of the random ones.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "bad/bad_image.h"
#include "ext4/superblock.h"
#include "support/environment.h"

namespace holdfast::test {
namespace {

constexpr unsigned kRandomImages = 24;  // of each flavour, in every test run

Damage set32(const std::string& name, std::uint64_t at, std::uint32_t value) {
  return {name, [=](Ext4Image& image) { image.set_u32(at, value); }};
}

Damage set16(const std::string& name, std::uint64_t at, std::uint16_t value) {
  return {name, [=](Ext4Image& image) { image.set_u16(at, value); }};
}

// Or a seed would not say what failed.
TEST_P(BadImage, IsTheSameInEveryRun) { EXPECT_TRUE(make_again() == sound()); }

TEST_P(BadImage, Superblock) {
  const auto at = [](std::uint64_t field) { return Ext4Image::superblock(field); };
  const auto with = [at](const char* name, std::uint64_t set, std::uint32_t feature) {
    return Damage{name, [=](Ext4Image& image) { image.set_u32(at(set), image.u32(at(set)) | feature); }};
  };
  survive_all({
      set32("inodes 0", at(0x00), 0),
      set32("inodes too many", at(0x00), 0xFFFFFFFF),
      set32("blocks 0", at(0x04), 0),
      set32("blocks beyond the device", at(0x04), 0x7FFFFFFF),
      set32("free blocks too many", at(0x0C), 0xFFFFFFFF),
      set32("free inodes too many", at(0x10), 0xFFFFFFFF),
      set32("first data block", at(0x14), 77),
      set32("block size 1 KiB", at(0x18), 0),
      set32("block size absurd", at(0x18), 40),
      set32("cluster size absurd", at(0x1C), 31),
      set32("blocks per group 0", at(0x20), 0),
      set32("blocks per group too many", at(0x20), 0x00FFFFFF),
      set32("clusters per group 0", at(0x24), 0),
      set32("inodes per group 0", at(0x28), 0),
      set32("inodes per group too many", at(0x28), 0x00FFFFFF),
      set16("magic", at(0x38), 0),
      set16("not clean", at(0x3A), 0),
      set32("revision", at(0x4C), 99),
      set32("first inode", at(0x54), 0xFFFFFFF0),
      set16("inode size 0", at(0x58), 0),
      set16("inode size odd", at(0x58), 1000),
      set32("incompatible features", at(0x60), 0xFFFFFFFF),
      set32("read-only features", at(0x64), 0xFFFFFFFF),
      set16("descriptor size", at(0xFE), 7),
      set32("orphan list into nothing", at(0xE8), 0x00FFFFFF),
      set32("orphan list to the root", at(0xE8), 2),
      set32("orphan list to a free inode", at(0xE8), 5000),
      set32("an orphan file, and no feature for it", at(0x280), 5000),
      set32("quotas of users in the journal", at(0x240), 8),
      set32("quotas of groups beyond the table", at(0x244), 0x00FFFFFF),
      set32("quotas of projects in the root", at(0x26C), 2),
      set32("written in the future", at(0x30), 0xF0000000),
      with("a seed for no checksums", 0x60, EXT4_FEATURE_INCOMPAT_CSUM_SEED),
      with("old checksums, too", 0x64, EXT4_FEATURE_RO_COMPAT_GDT_CSUM),
      with("clusters of a block", 0x64, EXT4_FEATURE_RO_COMPAT_BIGALLOC),
      {"all ones", [](Ext4Image& image) { image.fill(1024, 1024, 0xFF); }},
      {"all zeros", [](Ext4Image& image) { image.fill(1024, 1024, 0); }},
  });
}

TEST_P(BadImage, Descriptors) {
  const auto at = [](std::uint64_t field) { return Ext4Image::descriptor(field); };
  survive_all({
      set32("block bitmap at 0", at(0), 0),
      set32("block bitmap beyond", at(0), 0x7FFFFFFF),
      set32("inode bitmap beyond", at(4), 0x7FFFFFFF),
      set32("inode table at 0", at(8), 0),
      set32("inode table beyond", at(8), 0x7FFFFFFF),
      set32("inode table in the superblock", at(8), 1),
      set16("free blocks", at(12), 0xFFFF),
      set16("free inodes", at(14), 0xFFFF),
      set16("flags", at(18), 0xFFFF),
      set16("unused inodes", at(28), 0xFFFF),
      {"all ones", [=](Ext4Image& image) { image.fill(at(0), 64, 0xFF); }},
      {"all zeros", [=](Ext4Image& image) { image.fill(at(0), 4096, 0); }},
  });
}

TEST_P(BadImage, Bitmaps) {
  survive_all({
      {"no block is used", [](Ext4Image& image) { image.fill(image.block_bitmap(), 4096, 0); }},
      {"every block is used", [](Ext4Image& image) { image.fill(image.block_bitmap(), 4096, 0xFF); }},
      {"no inode is used", [](Ext4Image& image) { image.fill(image.inode_bitmap(), 4096, 0); }},
      {"every inode is used", [](Ext4Image& image) { image.fill(image.inode_bitmap(), 4096, 0xFF); }},
      {"half a bitmap", [](Ext4Image& image) { image.fill(image.block_bitmap() + 100, 400, 0x55); }},
  });
}

TEST_P(BadImage, Inodes) {
  const std::uint32_t small = inode("small");
  const std::uint32_t large = inode("large");
  const std::uint32_t link = inode("long-link");
  const auto in = [](std::uint32_t number, std::uint64_t field, std::uint32_t value, const char* name) {
    return Damage{name, [=](Ext4Image& image) { image.set_u32(image.inode(number, field), value); }};
  };
  const auto in16 = [](std::uint32_t number, std::uint64_t field, std::uint16_t value, const char* name) {
    return Damage{name, [=](Ext4Image& image) { image.set_u16(image.inode(number, field), value); }};
  };
  survive_all({
      in16(small, 0, 0, "no kind"),
      in16(small, 0, 0xF1A4, "a kind that there is not"),
      in16(small, 0, 0x41ED, "a file that says it is a directory"),
      in16(inode("sub"), 0, 0x81A4, "a directory that says it is a file"),
      in16(2, 0, 0x81A4, "the root is a file"),
      in16(small, 26, 0, "no links"),
      in16(small, 26, 0xFFFF, "too many links"),
      in(small, 4, 0xFFFFFFFF, "size"),
      in(large, 108, 0x7FFFFFFF, "size, high"),
      in(large, 108, 0xFFFFFFFF, "size, negative"),
      in(large, 28, 0xFFFFFFFF, "blocks"),
      {"a hole that is counted as blocks",
       [=](Ext4Image& image) {
         image.set_u32(image.inode(small, 4), 0x20000000);
         image.set_u32(image.inode(small, 28), 0xFFFFFFFF);
       }},
      in(large, 32, 0, "no extents flag"),
      in(large, 32, 0xFFFFFFFF, "all flags"),
      in(small, 32, 0x10080000, "inline data"),
      in(large, 104, 0x00FFFFFF, "attribute block beyond"),
      in(large, 104, 1, "attribute block in the descriptors"),
      in16(large, 128, 0xFFFF, "extra size"),
      in(link, 4, 0xFFFFFFFF, "length of a symbolic link"),
      in(link, 4, 0, "an empty symbolic link"),
      {"attributes in the inode", [=](Ext4Image& image) { image.fill(image.inode(large, 160), 96, 0xFF); }},
      {"an inode of zeros", [=](Ext4Image& image) { image.fill(image.inode(small), 256, 0); }},
      {"the root of zeros", [](Ext4Image& image) { image.fill(image.inode(2), 256, 0); }},
      {"the table of ones", [](Ext4Image& image) { image.fill(image.inode_table(), 65536, 0xFF); }},
  });
}

TEST_P(BadImage, Extents) {
  const std::uint32_t large = inode("large");
  const std::uint32_t pieces = inode("pieces");
  const std::uint32_t sub = inode("sub");
  ASSERT_EQ(Ext4Image(sound()).extent_depth(pieces), 1U) << "a tree below the root is what this test needs";
  const auto root = [](std::uint32_t number, std::uint64_t field, std::uint16_t value, const char* name) {
    return Damage{name, [=](Ext4Image& image) { image.set_u16(image.inode(number, 40 + field), value); }};
  };
  const auto leaf = [=](std::uint64_t field, std::uint16_t value, const char* name) {
    return Damage{name, [=](Ext4Image& image) { image.set_u16(image.first_block(pieces) + field, value); }};
  };
  survive_all({
      root(large, 0, 0, "magic of the root"),
      root(large, 2, 0xFFFF, "entries of the root"),
      root(large, 2, 0, "no entries in the root"),
      root(large, 4, 0xFFFF, "room of the root"),
      root(large, 6, 0xFFFF, "depth of the root"),
      root(large, 6, 5, "a depth of 5"),
      root(inode("many/a-name-of-some-length-00000"), 6, 0xFF, "an empty tree that is too deep"),
      root(large, 12 + 0, 0xFFFF, "first block of the file"),
      root(large, 12 + 4, 0, "an extent of no length"),
      root(large, 12 + 4, 0x7FFF, "an extent that is too long"),
      root(large, 12 + 6, 0x7FFF, "an extent beyond the device"),
      root(large, 12 + 10, 0x7FFF, "an extent far beyond the device"),
      {"an extent over the superblock", [=](Ext4Image& image) { image.set_u32(image.inode(large, 40 + 12 + 8), 0); }},
      {"a child beyond the device",
       [=](Ext4Image& image) { image.set_u32(image.inode(pieces, 40 + 12 + 4), 0x7FFFFFFF); }},
      {"a child that is the superblock", [=](Ext4Image& image) { image.set_u32(image.inode(pieces, 40 + 12 + 4), 0); }},
      {"a child that is its own parent",
       [=](Ext4Image& image) {
         const std::uint64_t child = image.first_block(pieces);
         image.set_u16(child + 6, 1);
         image.set_u32(child + 12 + 4, static_cast<std::uint32_t>(child / 4096));
       }},
      leaf(0, 0, "magic of a leaf"),
      leaf(2, 0xFFFF, "entries of a leaf"),
      leaf(4, 0xFFFF, "room of a leaf"),
      leaf(6, 3, "depth of a leaf"),
      leaf(12 + 12, 0, "extents out of order"),
      leaf(12 + 4, 0xFFFF, "a leaf's extent that is too long"),
      {"a leaf of zeros", [=](Ext4Image& image) { image.fill(image.first_block(pieces), 4096, 0); }},
      {"a leaf of ones", [=](Ext4Image& image) { image.fill(image.first_block(pieces), 4096, 0xFF); }},
      {"a directory without blocks", [=](Ext4Image& image) { image.set_u16(image.inode(sub, 40 + 2), 0); }},
  });
}

TEST_P(BadImage, Directories) {
  const std::uint32_t sub = inode("sub");
  const std::uint32_t many = inode("many");
  const auto in = [](std::uint32_t number, std::uint64_t field, std::uint16_t value, const char* name) {
    return Damage{name, [=](Ext4Image& image) { image.set_u16(image.first_block(number) + field, value); }};
  };
  survive_all({
      in(sub, 4, 0, "a record of no length"),
      in(sub, 4, 7, "a record of odd length"),
      in(sub, 4, 0xFFFF, "a record that leaves the block"),
      in(sub, 12 + 4, 8, "a record too short for its name"),
      in(sub, 24 + 6, 0x01FF, "a name longer than its record"),
      in(sub, 24 + 6, 0x0200, "a name of no length"),
      {"a name with a slash", [=](Ext4Image& image) { image.bytes()[image.first_block(sub) + 24 + 8] = '/'; }},
      {"a name with a zero", [=](Ext4Image& image) { image.bytes()[image.first_block(sub) + 24 + 8] = '\0'; }},
      {"an inode beyond the table", [=](Ext4Image& image) { image.set_u32(image.first_block(sub) + 24, 0x00FFFFFF); }},
      {"an inode that is free", [=](Ext4Image& image) { image.set_u32(image.first_block(sub) + 24, 5000); }},
      {"an inode that is reserved", [=](Ext4Image& image) { image.set_u32(image.first_block(sub) + 24, 1); }},
      {"a loop: the entry is its own directory",
       [=](Ext4Image& image) { image.set_u32(image.first_block(sub) + 24, sub); }},
      {"a loop: the entry is the root", [=](Ext4Image& image) { image.set_u32(image.first_block(sub) + 24, 2); }},
      {"dot-dot elsewhere", [=](Ext4Image& image) { image.set_u32(image.first_block(sub) + 12, 0x00FFFFFF); }},
      in(many, 0x1C, 0x0009, "an unknown hash"),
      in(many, 0x1E, 0x00FF, "a tree that is too deep"),
      in(many, 0x20, 0, "an index without room"),
      in(many, 0x22, 0xFFFF, "an index of too many"),
      {"an index that leads beyond",
       [=](Ext4Image& image) { image.set_u32(image.first_block(many) + 0x24, 0x0FFFFFFF); }},
      {"an index that leads to itself", [=](Ext4Image& image) { image.set_u32(image.first_block(many) + 0x24, 0); }},
      {"a leaf of zeros", [=](Ext4Image& image) { image.fill(image.first_block(many) + 4096, 4096, 0); }},
      {"a leaf of ones", [=](Ext4Image& image) { image.fill(image.first_block(many) + 4096, 4096, 0xFF); }},
      {"a root block of zeros", [](Ext4Image& image) { image.fill(image.first_block(2), 4096, 0); }},
      {"a root block of ones", [](Ext4Image& image) { image.fill(image.first_block(2), 4096, 0xFF); }},
  });
}

TEST_P(BadImage, Lengths) {
  std::vector<Damage> damages;
  for (const std::size_t bytes : {0U, 1U, 1023U, 1024U, 2048U, 4096U, 8192U, 65536U, 1U << 20U, 31U << 20U}) {
    damages.push_back({fmt::format("cut to {} bytes", bytes), [=](Ext4Image& image) { image.bytes().resize(bytes); }});
  }
  damages.push_back({"all zeros", [](Ext4Image& image) { image.fill(0, image.bytes().size(), 0); }});
  damages.push_back({"all ones", [](Ext4Image& image) { image.fill(0, image.bytes().size(), 0xFF); }});
  survive_all(damages);
}

// Bytes, blocks and ranges of the metadata, by a seeded generator whose seed is in the name.
void damage_by(std::uint32_t seed, Ext4Image& image) {
  std::mt19937 random(seed);
  const std::uint64_t table = image.inode_table();
  const std::uint64_t places[] = {1024,  4096,         image.block_bitmap(), image.inode_bitmap(),
                                  table, table + 4096, table + 8192,         image.first_block(2)};
  const unsigned times = 1 + seed % kRandomImages;
  for (unsigned i = 0; i < times; ++i) {
    const std::uint64_t at = places[random() % std::size(places)] + random() % 3000;
    if (seed % 3 == 0) {
      const std::uint64_t length = random() % 64;
      image.fill(at, length, static_cast<unsigned char>(random()));
    } else {
      image.flip(at);
    }
  }
}

TEST_P(BadImage, Random) {
  const auto first = static_cast<std::uint32_t>(from_environment("HOLDFAST_SEED", 1));
  const auto images = static_cast<std::uint32_t>(from_environment("HOLDFAST_BAD_IMAGES", kRandomImages));
  std::vector<Damage> damages;
  for (std::uint32_t seed = first; seed < first + images; ++seed) {
    damages.push_back({fmt::format("seed {}", seed), [seed](Ext4Image& image) { damage_by(seed, image); }});
  }
  survive_all(damages);
}

std::string name_of(const ::testing::TestParamInfo<BadFlavour>& parameter) {
  return parameter.param == BadFlavour::checksums ? "checksums" : "plain";
}

INSTANTIATE_TEST_SUITE_P(Images, BadImage, ::testing::Values(BadFlavour::checksums, BadFlavour::plain), name_of);

}  // namespace
}  // namespace holdfast::test
