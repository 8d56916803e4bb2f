// Goal: images with every feature set we accept are changed without damage, and our counts are those of the tools.
// Method: mke2fs with each set; files, directories, links, orphans and their removal through the format; then e2fsck
// -fn, and dumpe2fs's free counts against ours.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "ext4/ext4.h"
#include "filesystem/format.h"
#include "support/ext4_volume.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Extent;
using filesystem::Format;
using filesystem::Initial;
using filesystem::Reservation;
using test::dumpe2fs_number;
using test::e2fsck_clean;
using test::Ext4Image;

constexpr Reservation kAny{.inodes = 2, .names = 2, .extents = 64, .attribute_blocks = 1, .takes_space = true};
constexpr Reservation kFreeing{.inodes = 2, .names = 1, .extents = 64, .attribute_blocks = 0, .takes_space = false};

Attributes attributes_now(FileType type, std::uint32_t links, std::uint64_t size = 0) {
  Attributes attributes;
  attributes.type = type;
  attributes.permissions = 0640;
  attributes.uid = 70'000;
  attributes.gid = 1000;
  attributes.links = links;
  attributes.size = size;
  attributes.accessed = attributes.modified = attributes.changed = attributes.created = file_time_now();
  return attributes;
}

InodeNumber make_file(Format& format, InodeNumber directory, const std::string& name, std::uint64_t pages) {
  const auto handle = format.begin(kAny).value();
  const InodeNumber inode =
      format.create_inode(*handle, directory, attributes_now(FileType::regular, 1, pages * kPageBytes)).value();
  std::vector<Extent> added;
  if (pages != 0) {
    format.allocate(*handle, inode, {PageIndex(0), PageIndex(pages)}, Initial::unwritten, added).value();
  }
  format.add_name(*handle, directory, {name, inode, FileType::regular}).value();
  handle->done();
  return inode;
}

InodeNumber make_directory_in(Format& format, InodeNumber parent, const std::string& name) {
  const auto handle = format.begin(kAny).value();
  const InodeNumber inode = format.create_inode(*handle, parent, attributes_now(FileType::directory, 2)).value();
  format.make_directory(*handle, inode, parent).value();
  format.add_name(*handle, parent, {name, inode, FileType::directory}).value();
  Attributes above = format.read_inode(parent).value();
  ++above.links;
  format.write_inode(*handle, parent, above).value();
  handle->done();
  return inode;
}

void remove_file(Format& format, InodeNumber directory, const std::string& name, InodeNumber inode) {
  {
    const auto handle = format.begin(kFreeing).value();
    format.remove_name(*handle, directory, name).value();
    Attributes attributes = format.read_inode(inode).value();
    attributes.links = 0;
    format.write_inode(*handle, inode, attributes).value();
    format.add_orphan(*handle, inode).value();
    handle->done();
  }
  PageIndex end = kEndOfFile;
  while (end > PageIndex(0)) {
    const auto handle = format.begin(kFreeing).value();
    end = format.remove(*handle, inode, {PageIndex(0), end}, 16).value();
    handle->done();
  }
  const auto handle = format.begin(kFreeing).value();
  format.remove_orphan(*handle, inode).value();
  format.free_inode(*handle, inode).value();
  handle->done();
}

void expect_counts_agree(const Ext4Image& image, const filesystem::Space& space) {
  EXPECT_EQ(dumpe2fs_number(image.path(), "Free blocks"), static_cast<std::int64_t>(space.free / space.block_bytes));
  EXPECT_EQ(dumpe2fs_number(image.path(), "Free inodes"), static_cast<std::int64_t>(space.free_inodes));
}

struct FeatureSet {
  const char* name;
  const char* options;
  std::uint64_t mebibytes = 300;
};
void PrintTo(const FeatureSet& set, std::ostream* out) { *out << "mke2fs " << set.options; }

class ImageWith : public testing::TestWithParam<FeatureSet> {};

TEST_P(ImageWith, ChangesLeaveItClean) {
  const Ext4Image image(GetParam().mebibytes * MiB, GetParam().options);
  const std::unique_ptr<device::Device> device = image.open();
  filesystem::Space before;
  filesystem::Space after;
  {
    const std::unique_ptr<Format> format = mount(*device, {}).value();
    before = format->space();
    std::vector<std::pair<std::string, InodeNumber>> files;
    std::vector<InodeNumber> directories{format->root()};
    std::mt19937 random(20);
    for (int i = 0; i < 12; ++i) {
      const InodeNumber parent = directories[random() % directories.size()];
      directories.push_back(make_directory_in(*format, parent, "directory " + std::to_string(i)));
    }
    // Many small files in one directory, so that it outgrows a block; a few large ones.
    for (int i = 0; i < 300; ++i) {
      const std::string name = "file " + std::string(static_cast<std::size_t>(i % 60), 'x') + std::to_string(i);
      files.emplace_back(name, make_file(*format, directories[1], name, random() % 6));
    }
    for (int i = 0; i < 6; ++i) {
      const std::string name = "large " + std::to_string(i);
      files.emplace_back(name, make_file(*format, directories[1], name, 700 + random() % 1500));
    }
    std::shuffle(files.begin(), files.end(), random);
    for (std::size_t i = 0; i < files.size() / 2; ++i) {
      remove_file(*format, directories[1], files[i].first, files[i].second);
    }
    EXPECT_TRUE(format->orphans().value().empty());
    after = format->space();
    EXPECT_LT(after.free, before.free);
    format->close(true).value();
  }
  expect_counts_agree(image, after);
  EXPECT_TRUE(e2fsck_clean(image.path()));
  EXPECT_EQ(test::run_program("dumpe2fs -h " + image.path() + " | grep -q 'Filesystem state:  *clean$'").status, 0);
}

constexpr FeatureSet kFeatureSets[] = {
    {"Defaults", "-t ext4"},
    {"NoJournal", "-t ext4 -O ^has_journal"},
    {"NoMetadataChecksums", "-t ext4 -O ^metadata_csum,^has_journal"},
    {"DescriptorChecksumsOnly", "-t ext4 -O ^metadata_csum,uninit_bg"},
    {"NoChecksums", "-t ext4 -O ^metadata_csum,^uninit_bg"},
    {"ChecksumSeed", "-t ext4 -O metadata_csum_seed"},
    {"No64Bit", "-t ext4 -O ^64bit"},
    {"No64BitNoChecksums", "-t ext4 -O ^64bit,^metadata_csum"},
    {"NoFlexGroups", "-t ext4 -O ^flex_bg"},
    {"NoFlexGroupsNoChecksums", "-t ext4 -O ^flex_bg,^metadata_csum,^uninit_bg"},
    {"MetaGroups", "-t ext4 -O meta_bg,^resize_inode"},
    {"MetaGroupsSmall", "-t ext4 -O meta_bg,^resize_inode -g 1024"},
    {"SmallGroups", "-t ext4 -g 2048"},
    {"OddGroups", "-t ext4 -g 8200"},
    {"SparseSuper2", "-t ext4 -O sparse_super2,^resize_inode"},
    {"NoSparseSuper", "-t ext4 -O ^sparse_super,^resize_inode"},
    {"PackedMetadata", "-t ext4 -E packed_meta_blocks=1"},
    {"LargeDirectories", "-t ext4 -O large_dir"},
    {"OrphanFile", "-t ext4 -O orphan_file"},
    {"OrphanFileNoChecksums", "-t ext4 -O orphan_file,^metadata_csum"},
    {"NoDirIndex", "-t ext4 -O ^dir_index"},
    {"NoFiletype", "-t ext4 -O ^filetype"},
    {"NoHugeFile", "-t ext4 -O ^huge_file"},
    {"NoLargeFile", "-t ext4 -O ^large_file"},
    {"NoExtraIsize", "-t ext4 -O ^extra_isize,^dir_nlink"},
    {"Inodes128", "-t ext4 -I 128"},
    {"Inodes128NoChecksums", "-t ext4 -I 128 -O ^metadata_csum"},
    {"Inodes512", "-t ext4 -I 512"},
    {"Inodes1024", "-t ext4 -I 1024"},
    {"Inodes4096", "-t ext4 -I 4096 -i 65536"},
    {"FewInodes", "-t ext4 -N 600"},
    {"Clusters8K", "-t ext4 -O bigalloc -C 8192"},
    {"Clusters64K", "-t ext4 -O bigalloc -C 65536"},
    {"Clusters64KNoJournal", "-t ext4 -O bigalloc,^has_journal,^metadata_csum -C 65536"},
    {"Clusters1M", "-t ext4 -O bigalloc,^has_journal,^resize_inode -C 1048576", 1500},
    {"Clusters2M", "-t ext4 -O bigalloc,^has_journal,^resize_inode -C 2097152", 3000},
    {"UpstreamDefaults", "-t ext4 -O orphan_file,metadata_csum_seed,metadata_csum,64bit"},
    {"LazyTables", "-t ext4 -E lazy_itable_init=1,lazy_journal_init=1", 600},
    {"ZeroedTables", "-t ext4 -E lazy_itable_init=0", 600},
    {"ReservedBlocks", "-t ext4 -m 20"},
    {"TeaHashes", "-t ext4 -E hash_seed=12345678-1234-1234-1234-123456789abc"},
};

INSTANTIATE_TEST_SUITE_P(Features, ImageWith, testing::ValuesIn(kFeatureSets),
                         [](const testing::TestParamInfo<FeatureSet>& set) { return set.param.name; });

// What a crash leaves is what the last commit wrote: files with names stay, orphans go, with every block.
TEST(Image, CheckerFreesOrphansAfterAnUncleanEnd) {
  for (const char* options : {"-t ext4 -O ^has_journal", "-t ext4 -O orphan_file"}) {
    const Ext4Image image(100 * MiB, options);
    filesystem::Space empty;
    {
      const std::unique_ptr<device::Device> device = image.open();
      const std::unique_ptr<Format> format = mount(*device, {}).value();
      empty = format->space();
      const InodeNumber kept = make_file(*format, format->root(), "kept", 10);
      std::vector<InodeNumber> orphans;
      for (int i = 0; i < 5; ++i) {
        const auto handle = format->begin(kAny).value();
        const InodeNumber inode =
            format->create_inode(*handle, format->root(), attributes_now(FileType::regular, 0)).value();
        std::vector<Extent> added;
        format->allocate(*handle, inode, {PageIndex(0), PageIndex(40)}, Initial::unwritten, added).value();
        format->add_orphan(*handle, inode).value();
        handle->done();
        orphans.push_back(inode);
      }
      // One from the middle leaves the list again and gets a name.
      {
        const auto handle = format->begin(kAny).value();
        format->remove_orphan(*handle, orphans[2]).value();
        Attributes attributes = format->read_inode(orphans[2]).value();
        attributes.links = 1;
        attributes.size = 40 * kPageBytes;
        format->write_inode(*handle, orphans[2], attributes).value();
        format->add_name(*handle, format->root(), {"linked", orphans[2], FileType::regular}).value();
        handle->done();
      }
      EXPECT_EQ(format->orphans().value().size(), 4u);
      format->commit().value();
      // No close: the end of a process that was killed.
      static_cast<void>(kept);
    }
    if (std::string_view(options).find("^has_journal") != std::string_view::npos) {
      EXPECT_EQ(mount(*image.open(), {}).error().code(), EUCLEAN);
    }
    {
      const std::unique_ptr<device::Device> device = image.open(device::OpenMode::read_only);
      EXPECT_EQ(mount(*device, {.read_only = true}).value()->orphans().value().size(), 4u);
    }
    EXPECT_LE(test::run_program("e2fsck -p " + image.path()).status, 1);
    EXPECT_TRUE(e2fsck_clean(image.path()));
    const std::unique_ptr<device::Device> device = image.open();
    const std::unique_ptr<Format> format = mount(*device, {}).value();
    EXPECT_EQ(format->space().free, empty.free - 50 * kPageBytes) << options;
    EXPECT_EQ(format->space().free_inodes, empty.free_inodes - 2) << options;
    format->close(true).value();
  }
}

TEST(Image, AttributesComeBack) {
  const Ext4Image image(40 * MiB, "-t ext4");
  Attributes wanted = attributes_now(FileType::regular, 1, (std::uint64_t{3} << 32) + 5);
  wanted.permissions = 07755;
  wanted.uid = 0xfffffffe;
  wanted.gid = 0x12345678;
  wanted.accessed = {-5, 999'999'999};
  wanted.modified = {4'000'000'000, 1};
  wanted.changed = {16'000'000'000, 2};
  wanted.created = {1'700'000'000, 3};
  wanted.flags = EXT2_NODUMP_FL | EXT2_NOATIME_FL;
  const struct {
    FileType type;
    std::uint32_t major;
    std::uint32_t minor;
  } nodes[] = {{FileType::character_device, 1, 3},
               {FileType::block_device, 259, 1'000'000},
               {FileType::fifo, 0, 0},
               {FileType::socket, 0, 0}};
  std::vector<InodeNumber> made;
  {
    const std::unique_ptr<device::Device> device = image.open();
    const std::unique_ptr<Format> format = mount(*device, {}).value();
    const auto add = [&](const Attributes& attributes) {
      const auto handle = format->begin(kAny).value();
      made.push_back(format->create_inode(*handle, format->root(), attributes).value());
      format->add_name(*handle, format->root(), {"n" + std::to_string(made.size()), made.back(), attributes.type})
          .value();
      handle->done();
    };
    add(wanted);
    for (const auto& node : nodes) {
      Attributes attributes = attributes_now(node.type, 1);
      attributes.device_major = node.major;
      attributes.device_minor = node.minor;
      add(attributes);
    }
    format->close(true).value();
  }
  EXPECT_TRUE(e2fsck_clean(image.path()));
  const std::unique_ptr<device::Device> device = image.open(device::OpenMode::read_only);
  const std::unique_ptr<Format> format = mount(*device, {.read_only = true}).value();
  const Attributes read = format->read_inode(made[0]).value();
  EXPECT_EQ(read.permissions, wanted.permissions);
  EXPECT_EQ(read.uid, wanted.uid);
  EXPECT_EQ(read.gid, wanted.gid);
  EXPECT_EQ(read.size, wanted.size);
  EXPECT_EQ(read.accessed, wanted.accessed);
  EXPECT_EQ(read.modified, wanted.modified);
  // Past the year 2446 time stands still.
  EXPECT_EQ(read.changed, (FileTime{0x37fffffff, 2}));
  EXPECT_EQ(read.created, wanted.created);
  EXPECT_EQ(read.flags & (EXT2_NODUMP_FL | EXT2_NOATIME_FL), wanted.flags);
  for (std::size_t i = 0; i < std::size(nodes); ++i) {
    const Attributes node = format->read_inode(made[i + 1]).value();
    EXPECT_EQ(node.type, nodes[i].type);
    EXPECT_EQ(node.device_major, nodes[i].major);
    EXPECT_EQ(node.device_minor, nodes[i].minor);
  }
  const std::string listing =
      test::run_program("debugfs -R 'stat <" + std::to_string(raw(made[2])) + ">' " + image.path()).output;
  EXPECT_NE(listing.find("259:1000000"), std::string::npos) << listing;
}

TEST(Image, ReadOnlyMountChangesNothing) {
  const Ext4Image image(40 * MiB, "-t ext4");
  const std::string before = test::run_program("cksum < " + image.path()).output;
  {
    const std::unique_ptr<device::Device> device = image.open(device::OpenMode::read_only);
    EXPECT_EQ(mount(*device, {}).error().code(), EROFS);
    const std::unique_ptr<Format> format = mount(*device, {.read_only = true}).value();
    EXPECT_TRUE(format->read_only());
    EXPECT_EQ(format->begin(kAny).error().code(), EROFS);
    EXPECT_TRUE(format->lookup(format->root(), "lost+found").value().has_value());
    format->close(true).value();
  }
  EXPECT_EQ(test::run_program("cksum < " + image.path()).output, before);
}

// What is freed comes back at a commit, and begin() makes the commit when space is short of it.
TEST(Image, FreedSpaceIsFoundWhenItIsNeeded) {
  const Ext4Image image(32 * MiB, "-t ext4 -O ^has_journal");
  const std::unique_ptr<device::Device> device = image.open();
  const std::unique_ptr<Format> format = mount(*device, {}).value();
  const std::uint64_t pages = format->space().available / kPageBytes - 64;
  for (int round = 0; round < 4; ++round) {
    const InodeNumber inode = make_file(*format, format->root(), "all", pages);
    remove_file(*format, format->root(), "all", inode);
  }
  format->close(true).value();
  EXPECT_TRUE(e2fsck_clean(image.path()));
}

TEST(Image, FullPoolRefusesAndRemoves) {
  const Ext4Image image(16 * MiB, "-t ext4 -O ^has_journal");
  const std::unique_ptr<device::Device> device = image.open();
  const std::unique_ptr<Format> format = mount(*device, {}).value();
  const filesystem::Space empty = format->space();
  std::vector<std::pair<std::string, InodeNumber>> files;
  for (int i = 0;; ++i) {
    const std::string name = "file" + std::to_string(i);
    auto begun = format->begin(kAny);
    if (!begun) {
      EXPECT_EQ(begun.error().code(), ENOSPC);
      break;
    }
    const auto handle = std::move(begun).value();
    const InodeNumber inode =
        format->create_inode(*handle, format->root(), attributes_now(FileType::regular, 1)).value();
    std::vector<Extent> added;
    const auto allocated = format->allocate(*handle, inode, {PageIndex(0), PageIndex(3)}, Initial::unwritten, added);
    if (!allocated) {
      EXPECT_EQ(allocated.error().code(), ENOSPC);
      EXPECT_TRUE(added.empty());
      Attributes attributes = format->read_inode(inode).value();
      attributes.links = 0;
      format->write_inode(*handle, inode, attributes).value();
      format->free_inode(*handle, inode).value();
      handle->done();
      break;
    }
    Attributes attributes = format->read_inode(inode).value();
    attributes.size = 3 * kPageBytes;
    format->write_inode(*handle, inode, attributes).value();
    format->add_name(*handle, format->root(), {name, inode, FileType::regular}).value();
    handle->done();
    files.emplace_back(name, inode);
  }
  EXPECT_GT(files.size(), 500u);
  EXPECT_LT(format->space().available, 64 * kPageBytes);
  for (const auto& [name, inode] : files) remove_file(*format, format->root(), name, inode);
  format->commit().value();
  // The root directory has grown and stays so.
  EXPECT_GE(format->space().free, empty.free - 32 * kPageBytes);
  EXPECT_EQ(format->space().free_inodes, empty.free_inodes);
  format->close(true).value();
  EXPECT_TRUE(e2fsck_clean(image.path()));
}

}  // namespace
}  // namespace holdfast::ext4
