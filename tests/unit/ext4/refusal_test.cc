// Goal: what cannot be mounted is refused with its name and the remedy, and damage gives an error, never a crash or an
// access out of bounds. Method: one image for each feature we lack; one broken number of superblock or descriptor at a
// time, with the checksums made right again; and seeded random bytes over the metadata, walked and changed whole.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <string>

#include "base/crc32c.h"
#include "ext4/checksum.h"
#include "ext4/ext4.h"
#include "ext4/superblock.h"
#include "support/ext4_volume.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Format;
using filesystem::Reservation;
using test::Ext4Image;

// The image's bytes, for breaking them.
class Bytes {
 public:
  explicit Bytes(const Ext4Image& image) : fd_(::open(image.path().c_str(), O_RDWR | O_CLOEXEC)) { EXPECT_GE(fd_, 0); }
  ~Bytes() { ::close(fd_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  template <typename T>
  T read(std::uint64_t offset) const {
    T value;
    EXPECT_EQ(pread(fd_, &value, sizeof(value), static_cast<off_t>(offset)), static_cast<ssize_t>(sizeof(value)));
    return value;
  }
  template <typename T>
  void write(std::uint64_t offset, const T& value) {
    EXPECT_EQ(pwrite(fd_, &value, sizeof(value), static_cast<off_t>(offset)), static_cast<ssize_t>(sizeof(value)));
  }

  void change_superblock(const std::function<void(ext2_super_block&)>& change) {
    auto super = read<ext2_super_block>(kSuperblockOffset);
    change(super);
    super.s_checksum = superblock_checksum(super);
    write(kSuperblockOffset, super);
  }
  // Descriptors of 64 bytes in block 1 on.
  void change_descriptor(GroupNumber group, const std::function<void(ext4_group_desc&)>& change) {
    const std::uint64_t at = 4096 + std::uint64_t{group} * 64;
    auto descriptor = read<ext4_group_desc>(at);
    change(descriptor);
    const auto super = read<ext2_super_block>(kSuperblockOffset);
    descriptor.bg_checksum =
        descriptor_checksum(super, filesystem_seed(super), group, reinterpret_cast<const std::byte*>(&descriptor), 64);
    write(at, descriptor);
  }

 private:
  int fd_;
};

Result<std::unique_ptr<Format>> mount_image(const Ext4Image& image, std::unique_ptr<device::Device>& device,
                                            bool read_only = false) {
  device = image.open(read_only ? device::OpenMode::read_only : device::OpenMode::read_write);
  return mount(*device, {.read_only = read_only});
}

struct Unsupported {
  const char* name;
  const char* options;
  int code;
  const char* words;
  bool readable = false;
  std::uint64_t mebibytes = 40;
};
void PrintTo(const Unsupported& what, std::ostream* out) { *out << what.name; }

class Refusal : public testing::TestWithParam<Unsupported> {};

TEST_P(Refusal, NamesTheReason) {
  const Ext4Image image(GetParam().mebibytes * MiB, GetParam().options);
  std::unique_ptr<device::Device> device;
  const auto refused = mount_image(image, device);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), GetParam().code) << refused.error().message();
  EXPECT_NE(refused.error().message().find(GetParam().words), std::string::npos) << refused.error().message();
  EXPECT_FALSE(refused.error().remedy().empty());
  device.reset();
  EXPECT_EQ(mount_image(image, device, true).has_value(), GetParam().readable);
  device.reset();
  EXPECT_TRUE(test::e2fsck_clean(image.path()));
}

constexpr Unsupported kUnsupported[] = {
    {"Blocks1K", "-t ext4 -b 1024", ENOTSUP, "made with 1 KiB blocks; make it with mke2fs -b 4096"},
    {"Blocks2K", "-t ext4 -b 2048", ENOTSUP, "made with 2 KiB blocks"},
    {"Blocks64K", "-t ext4 -b 65536 -O ^resize_inode", ENOTSUP, "made with 64 KiB blocks", false, 100},
    {"Encrypt", "-t ext4 -O encrypt", ENOTSUP, "encrypt"},
    {"Casefold", "-t ext4 -O casefold", ENOTSUP, "casefold"},
    {"InlineData", "-t ext4 -O inline_data", ENOTSUP, "inline_data"},
    {"EaInode", "-t ext4 -O ea_inode", ENOTSUP, "ea_inode"},
    {"Mmp", "-t ext4 -O mmp", ENOTSUP, "mmp"},
    {"Verity", "-t ext4 -O verity", ENOTSUP, "verity", true},
    {"Quota", "-t ext4 -O quota", ENOTSUP, "quota", true},
    {"Project", "-t ext4 -O project,quota", ENOTSUP, "quota", true},
    {"LargeClusters", "-t ext4 -O bigalloc,^resize_inode -C 4194304", ENOTSUP, "at most 2 MiB", false, 3000},
    {"Hurd", "-t ext2 -o hurd", ENOTSUP, "operating system"},
};
INSTANTIATE_TEST_SUITE_P(Features, Refusal, testing::ValuesIn(kUnsupported),
                         [](const testing::TestParamInfo<Unsupported>& what) { return what.param.name; });

TEST(RefusalOf, JournalDevices) {
  const Ext4Image image(40 * MiB, "-O journal_dev");
  std::unique_ptr<device::Device> device;
  const auto refused = mount_image(image, device);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("external journal"), std::string::npos) << refused.error().message();
}

TEST(RefusalOf, WhatIsNoImage) {
  const Ext4Image zeros(40 * MiB);
  std::unique_ptr<device::Device> device;
  const auto refused = mount_image(zeros, device);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), EINVAL);
  EXPECT_EQ(refused.error().message(), zeros.path() + ": not an ext4 image (bad magic 0x0000)");
  const Ext4Image tiny(1);
  device.reset();
  EXPECT_EQ(test::run_program("truncate -s 4096 " + tiny.path()).status, 0);
  EXPECT_EQ(mount_image(tiny, device).error().code(), EINVAL);
}

TEST(RefusalOf, ImagesCutShort) {
  const Ext4Image image(40 * MiB, "-t ext4");
  ASSERT_EQ(test::run_program("truncate -s 39M " + image.path()).status, 0);
  std::unique_ptr<device::Device> device;
  const auto refused = mount_image(image, device);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), EINVAL);
  EXPECT_NE(refused.error().message().find("cut short"), std::string::npos) << refused.error().message();
}

struct Break {
  const char* name;
  std::function<void(Bytes&)> make;
  int code = EUCLEAN;
  const char* words = "";
};

Break super_break(const char* name, std::function<void(ext2_super_block&)> change, int code = EUCLEAN,
                  const char* words = "") {
  return {name, [change](Bytes& bytes) { bytes.change_superblock(change); }, code, words};
}
Break group_break(const char* name, std::function<void(ext4_group_desc&)> change, GroupNumber group = 1) {
  return {name, [change, group](Bytes& bytes) { bytes.change_descriptor(group, change); }, EUCLEAN, "group"};
}

std::vector<Break> breaks() {
  using Super = ext2_super_block;
  using Group = ext4_group_desc;
  std::vector<Break> all = {
      {"superblock checksum", [](Bytes& b) { b.write<std::uint8_t>(kSuperblockOffset + 0x200, 0x55); }, EUCLEAN,
       "checksum"},
      {"descriptor checksum", [](Bytes& b) { b.write<std::uint8_t>(4096 + 12, 0x55); }, EUCLEAN, "checksum"},
      super_break("blocks 0", [](Super& s) { s.s_blocks_count = 0; }),
      super_break(
          "blocks high", [](Super& s) { s.s_blocks_count_hi = 1; }, EINVAL),
      super_break(
          "blocks too many", [](Super& s) { s.s_blocks_count += 1; }, EINVAL),
      super_break("blocks too few", [](Super& s) { s.s_blocks_count = 100; }),
      super_break("blocks per group 0", [](Super& s) { s.s_blocks_per_group = 0; }),
      super_break("blocks per group 7", [](Super& s) { s.s_blocks_per_group = s.s_clusters_per_group = 7; }),
      super_break("blocks per group 8", [](Super& s) { s.s_blocks_per_group = s.s_clusters_per_group = 8; }),
      super_break("blocks per group 65536", [](Super& s) { s.s_blocks_per_group = s.s_clusters_per_group = 65536; }),
      super_break("blocks per group 16384", [](Super& s) { s.s_blocks_per_group = s.s_clusters_per_group = 16384; }),
      super_break("clusters per group", [](Super& s) { s.s_clusters_per_group = 16384; }),
      super_break("inodes 0", [](Super& s) { s.s_inodes_count = 0; }),
      super_break("inodes too many", [](Super& s) { s.s_inodes_count += 8; }),
      super_break("inodes per group 0", [](Super& s) { s.s_inodes_per_group = 0; }),
      super_break("inodes per group 8", [](Super& s) { s.s_inodes_per_group = 8; }),
      super_break("inodes per group 12345", [](Super& s) { s.s_inodes_per_group = 12345; }),
      super_break("inodes per group 2^31", [](Super& s) { s.s_inodes_per_group = 1u << 31; }),
      super_break("inode size 0", [](Super& s) { s.s_inode_size = 0; }),
      super_break("inode size 64", [](Super& s) { s.s_inode_size = 64; }),
      super_break("inode size 200", [](Super& s) { s.s_inode_size = 200; }),
      super_break("inode size 8192", [](Super& s) { s.s_inode_size = 8192; }),
      super_break("inode size 512", [](Super& s) { s.s_inode_size = 512; }),
      super_break("first inode 0", [](Super& s) { s.s_first_ino = 0; }),
      super_break("first inode 2^31", [](Super& s) { s.s_first_ino = 1u << 31; }),
      super_break("descriptor size 0", [](Super& s) { s.s_desc_size = 0; }),
      super_break("descriptor size 32", [](Super& s) { s.s_desc_size = 32; }),
      super_break("descriptor size 96", [](Super& s) { s.s_desc_size = 96; }),
      super_break("descriptor size 128", [](Super& s) { s.s_desc_size = 128; }),
      super_break("descriptor size 32768", [](Super& s) { s.s_desc_size = 32768; }),
      super_break("log block size 40", [](Super& s) { s.s_log_block_size = 40; }),
      super_break("log cluster size 3", [](Super& s) { s.s_log_cluster_size = 3; }),
      super_break("log cluster size 2^31", [](Super& s) { s.s_log_cluster_size = 1u << 31; }),
      super_break("bigalloc without clusters",
                  [](Super& s) {
                    s.s_feature_ro_compat |= EXT4_FEATURE_RO_COMPAT_BIGALLOC;
                    s.s_log_cluster_size = 30;
                  }),
      super_break("first data block", [](Super& s) { s.s_first_data_block = 1; }),
      super_break("groups per flex group", [](Super& s) { s.s_log_groups_per_flex = 32; }),
      super_break("reserved descriptor blocks", [](Super& s) { s.s_reserved_gdt_blocks = 60000; }),
      super_break("reserved descriptor blocks that overlap", [](Super& s) { s.s_reserved_gdt_blocks = 1024; }),
      super_break("first meta group",
                  [](Super& s) {
                    s.s_feature_incompat |= EXT2_FEATURE_INCOMPAT_META_BG;
                    s.s_first_meta_bg = 1000;
                  }),
      super_break("checksum type", [](Super& s) { s.s_checksum_type = 9; }),
      super_break("checksum seed",
                  [](Super& s) {
                    s.s_feature_incompat |= EXT4_FEATURE_INCOMPAT_CSUM_SEED;
                    s.s_checksum_seed = 77;
                  }),
      super_break(
          "revision", [](Super& s) { s.s_rev_level = 0; }, ENOTSUP),
      super_break(
          "unknown incompatible", [](Super& s) { s.s_feature_incompat |= 0x80000000; }, ENOTSUP, "0x80000000"),
      super_break(
          "unknown ro compatible", [](Super& s) { s.s_feature_ro_compat |= 0x40000000; }, ENOTSUP, "read-only"),
      super_break(
          "needs recovery without a journal",
          [](Super& s) {
            s.s_feature_compat &= ~std::uint32_t{EXT3_FEATURE_COMPAT_HAS_JOURNAL};
            s.s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
          },
          EUCLEAN, "run e2fsck -fy"),
      super_break(
          "external journal",
          [](Super& s) {
            s.s_feature_compat |= EXT3_FEATURE_COMPAT_HAS_JOURNAL;
            s.s_journal_inum = 0;
            s.s_journal_dev = 0x700;
          },
          ENOTSUP, "another device"),
      super_break(
          "not clean", [](Super& s) { s.s_state = 0; }, EUCLEAN, "e2fsck -p"),
      super_break(
          "with errors", [](Super& s) { s.s_state = EXT2_VALID_FS | EXT2_ERROR_FS; }, EUCLEAN, "e2fsck -p"),
      super_break(
          "magic", [](Super& s) { s.s_magic = 0x1234; }, EINVAL, "0x1234"),
      super_break("orphan number", [](Super& s) { s.s_last_orphan = 0xffffff00; }),
      super_break("orphan that is the root", [](Super& s) { s.s_last_orphan = 2; }),
      super_break("orphan that is free", [](Super& s) { s.s_last_orphan = 5000; }),
      super_break("orphan file number",
                  [](Super& s) {
                    s.s_feature_compat |= EXT4_FEATURE_COMPAT_ORPHAN_FILE;
                    s.s_feature_ro_compat |= EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT;
                    s.s_orphan_file_inum = 0xfffffff0;
                  }),
      super_break("orphan file that is a directory",
                  [](Super& s) {
                    s.s_feature_compat |= EXT4_FEATURE_COMPAT_ORPHAN_FILE;
                    s.s_feature_ro_compat |= EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT;
                    s.s_orphan_file_inum = 11;
                  }),
      group_break("block bitmap 0", [](Group& g) { g.bg_block_bitmap = 0; }),
      group_break("block bitmap outside", [](Group& g) { g.bg_block_bitmap = 0x7fffffff; }),
      group_break("block bitmap high", [](Group& g) { g.bg_block_bitmap_hi = 1; }),
      group_break("block bitmap is the superblock", [](Group& g) { g.bg_block_bitmap = 1; }),
      group_break("inode bitmap outside", [](Group& g) { g.bg_inode_bitmap = 0x7fffffff; }),
      group_break("inode bitmap is the block bitmap", [](Group& g) { g.bg_inode_bitmap = g.bg_block_bitmap; }),
      group_break("inode table outside", [](Group& g) { g.bg_inode_table = 76799; }),
      group_break("inode table high", [](Group& g) { g.bg_inode_table_hi = 0x80000000; }),
      group_break("inode table over another", [](Group& g) { g.bg_inode_table -= 1; }),
      group_break("free clusters", [](Group& g) { g.bg_free_blocks_count = 0xffff; }),
      group_break("free clusters high", [](Group& g) { g.bg_free_blocks_count_hi = 1; }),
      group_break("free inodes", [](Group& g) { g.bg_free_inodes_count = 0xffff; }),
      group_break("directories", [](Group& g) { g.bg_used_dirs_count = 0xffff; }),
      group_break("unused inodes", [](Group& g) { g.bg_itable_unused = 0xffff; }),
  };
  return all;
}

TEST(RefusalOf, BrokenNumbers) {
  std::set<std::string> messages;
  for (const Break& each : breaks()) {
    const Ext4Image image(300 * MiB, "-t ext4 -O 64bit,metadata_csum");
    {
      Bytes bytes(image);
      each.make(bytes);
    }
    std::unique_ptr<device::Device> device;
    const auto refused = mount_image(image, device);
    ASSERT_FALSE(refused.has_value()) << each.name;
    EXPECT_EQ(refused.error().code(), each.code) << each.name << ": " << refused.error().message();
    EXPECT_NE(refused.error().message().find(each.words), std::string::npos)
        << each.name << ": " << refused.error().message();
    EXPECT_NE(refused.error().message().find(image.path()), std::string::npos);
  }
  EXPECT_GE(breaks().size(), 60u);
}

// Goes everywhere that numbers on the medium lead, changes what it can, and expects nothing but to come back.
void walk_and_change(Format& format) {
  constexpr Reservation kAny{.inodes = 4, .names = 4, .extents = 64, .attribute_blocks = 1, .takes_space = true};
  const auto read_all = [&](InodeNumber inode) {
    static_cast<void>(format.read_inode(inode));
    std::vector<filesystem::Extent> extents;
    static_cast<void>(format.extents(inode, {PageIndex(0), kEndOfFile}, extents));
    static_cast<void>(format.read_symlink(inode));
    static_cast<void>(format.list_attributes(inode));
    static_cast<void>(format.get_attribute(inode, "user.a"));
  };
  for (std::uint32_t number = 1; number < 300; ++number) read_all(InodeNumber{number});
  std::vector<std::pair<std::string, InodeNumber>> names;
  std::uint64_t cursor = 0;
  for (int calls = 0; calls < 100 && cursor != filesystem::kDirectoryEnd; ++calls) {
    const auto next = format.read_directory(format.root(), cursor, [&](const filesystem::Name& name, std::uint64_t) {
      names.emplace_back(name.name, name.inode);
      return true;
    });
    if (!next) break;
    cursor = *next;
  }
  for (const auto& [name, inode] : names) {
    read_all(inode);
    static_cast<void>(format.lookup(format.root(), name));
  }
  auto begun = format.begin(kAny);
  if (!begun) return;
  const auto handle = std::move(begun).value();
  Attributes attributes;
  attributes.permissions = 0600;
  attributes.links = 1;
  for (int i = 0; i < 8; ++i) {
    const auto inode = format.create_inode(*handle, format.root(), attributes);
    if (!inode) continue;
    std::vector<filesystem::Extent> added;
    static_cast<void>(
        format.allocate(*handle, *inode, {PageIndex(0), PageIndex(600)}, filesystem::Initial::unwritten, added));
    static_cast<void>(format.add_name(*handle, format.root(), {"new" + std::to_string(i), *inode, FileType::regular}));
    static_cast<void>(format.add_orphan(*handle, *inode));
  }
  std::size_t removed = 0;
  for (const auto& [name, inode] : names) {
    if (name == "." || name == ".." || ++removed > 30) continue;
    static_cast<void>(format.remove_name(*handle, format.root(), name));
    static_cast<void>(format.remove(*handle, inode, {PageIndex(0), kEndOfFile}, 64));
    static_cast<void>(format.set_attribute(*handle, inode, "user.b", "value", Format::AttributeMode::set));
    static_cast<void>(format.remove_all_attributes(*handle, inode));
    static_cast<void>(format.free_inode(*handle, inode));
  }
  handle->done();
}

// Without checksums every wrong byte is believed until something else contradicts it.
TEST(Damage, RandomBytesNeverCrash) {
  const char* const option_sets[] = {"-t ext4 -O ^has_journal,^metadata_csum,^uninit_bg -N 256",
                                     "-t ext4 -O ^has_journal,^metadata_csum,uninit_bg -N 256",
                                     "-t ext4 -O orphan_file,^metadata_csum -N 512",
                                     "-t ext4 -O ^has_journal,^metadata_csum,bigalloc -C 16384 -N 256",
                                     "-t ext4 -O ^has_journal,metadata_csum -N 256"};
  unsigned mounted = 0;
  for (const char* options : option_sets) {
    const Ext4Image whole(16 * MiB, options);
    {
      const std::unique_ptr<device::Device> device = whole.open();
      const std::unique_ptr<Format> format = mount(*device, {}).value();
      walk_and_change(*format);
      format->close(true).value();
    }
    for (unsigned seed = 1; seed <= 30; ++seed) {
      const Ext4Image image(16 * MiB);
      ASSERT_EQ(test::run_program("cp --sparse=always " + whole.path() + " " + image.path()).status, 0);
      {
        Bytes bytes(image);
        std::mt19937 random(seed);
        const auto wounds = static_cast<unsigned>(1 + random() % 40);
        for (unsigned i = 0; i < wounds; ++i) {
          // Superblock, descriptors, bitmaps, inode tables, first directories and extent blocks.
          const std::uint64_t at = random() % 4 == 0 ? 1024 + random() % 1024 : 4096 + random() % (60 * 4096);
          bytes.write<std::uint8_t>(at, static_cast<std::uint8_t>(random()));
        }
        auto super = bytes.read<ext2_super_block>(kSuperblockOffset);
        super.s_magic = EXT2_SUPER_MAGIC;
        super.s_state = EXT2_VALID_FS;
        super.s_checksum = superblock_checksum(super);
        bytes.write(kSuperblockOffset, super);
      }
      std::unique_ptr<device::Device> device;
      auto format = mount_image(image, device);
      if (!format) continue;
      ++mounted;
      walk_and_change(**format);
      static_cast<void>((*format)->close(true));
    }
  }
  EXPECT_GT(mounted, 30u);
}

}  // namespace
}  // namespace holdfast::ext4
