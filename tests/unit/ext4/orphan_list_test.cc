// Goal: the list and the orphan file on the medium always say what was added and not removed, and e2fsck frees exactly
// that. Method: random adds and removes against a set, reopened at random; an orphan file that is filled up; broken
// lists and files.
#include "ext4/orphan_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/ext4_volume.h"

namespace holdfast::ext4 {
namespace {

using test::MountedVolume;

std::set<std::uint32_t> numbers(const std::vector<InodeNumber>& inodes) {
  std::set<std::uint32_t> result;
  for (const InodeNumber inode : inodes) EXPECT_TRUE(result.insert(raw(inode)).second) << raw(inode) << " twice";
  return result;
}

void free_inode(MountedVolume& volume, InodeNumber inode) {
  volume->inode(inode).value()->body.i_dtime = static_cast<std::uint32_t>(file_time_now().seconds);
  volume->inode_changed(inode);
  volume.core().inode_allocator().free(raw(inode), false).value();
}

class Orphans : public testing::TestWithParam<const char*> {
 protected:
  static void add(MountedVolume& volume, InodeNumber inode) {
    volume.core().change_superblock();
    volume.core().orphans().add(inode).value();
  }
  static void remove(MountedVolume& volume, InodeNumber inode) {
    volume.core().change_superblock();
    volume.core().orphans().remove(inode).value();
  }
};

TEST_P(Orphans, RandomProgramAgreesWithASet) {
  MountedVolume volume(64 * MiB, GetParam());
  const std::uint64_t free_inodes = volume.core().inode_allocator().free_inodes();
  std::mt19937 random(4);
  std::set<std::uint32_t> model;
  for (int step = 0; step < 3000; ++step) {
    const auto kind = random() % 16;
    if (kind < 8 || model.empty()) {
      const InodeNumber inode = volume.create(FileType::regular, 0);
      add(volume, inode);
      add(volume, inode);  // a second time changes nothing
      model.insert(raw(inode));
    } else {
      auto chosen = model.begin();
      std::advance(chosen, static_cast<std::ptrdiff_t>(random() % model.size()));
      const InodeNumber inode{*chosen};
      remove(volume, inode);
      remove(volume, inode);
      model.erase(chosen);
      free_inode(volume, inode);
    }
    if (random() % 200 == 0) volume.reopen();
    ASSERT_EQ(volume.core().orphans().empty(), model.empty());
    ASSERT_TRUE(step % 50 != 0 || numbers(volume.core().orphans().all()) == model);
  }
  volume.reopen();
  EXPECT_EQ(numbers(volume.core().orphans().all()), model);
  EXPECT_GT(model.size(), 20u);
  // As a mount leaves it: e2fsck looks at everything.
  ext2_super_block& super = volume.core().change_superblock();
  super.s_state = static_cast<std::uint16_t>(super.s_state & ~EXT2_VALID_FS);
  volume.close();
  const test::ProgramEnd preened = test::run_program("e2fsck -p " + volume.image().path());
  EXPECT_LE(preened.status, 1) << preened.output;
  EXPECT_TRUE(test::e2fsck_clean(volume.image().path()));
  EXPECT_EQ(test::dumpe2fs_number(volume.image().path(), "Free inodes"), static_cast<std::int64_t>(free_inodes));
}

INSTANTIATE_TEST_SUITE_P(Forms, Orphans,
                         testing::Values("-t ext4 -O ^has_journal", "-t ext4 -O orphan_file",
                                         "-t ext4 -O orphan_file,^metadata_csum",
                                         "-t ext4 -O ^has_journal,^metadata_csum -I 128"));

// The orphan file here has 32 blocks of 1,023 places; what does not fit goes to the list.
TEST(OrphanFile, FullFileGoesOnWithTheList) {
  MountedVolume volume(64 * MiB, "-t ext4 -O orphan_file -N 40000 -J size=16");
  std::vector<InodeNumber> made;
  volume.core().change_superblock();
  for (int i = 0; i < 33'000; ++i) {
    made.push_back(volume.create(FileType::regular, 0));
    volume.core().orphans().add(made.back()).value();
  }
  EXPECT_NE(volume->superblock().s_last_orphan, 0u);
  EXPECT_NE(volume->superblock().s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT, 0u);
  volume.reopen();
  EXPECT_EQ(volume.core().orphans().all().size(), 33'000u);
  volume.core().change_superblock();
  for (const InodeNumber inode : made) {
    volume.core().orphans().remove(inode).value();
    free_inode(volume, inode);
  }
  EXPECT_TRUE(volume.core().orphans().empty());
  EXPECT_EQ(volume->superblock().s_last_orphan, 0u);
  EXPECT_EQ(volume->superblock().s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT, 0u);
  volume.close();
  EXPECT_TRUE(test::e2fsck_clean(volume.image().path()));
}

TEST(OrphanFile, DamageIsReported) {
  MountedVolume volume(64 * MiB, "-t ext4 -O orphan_file");
  const InodeNumber inode = volume.create(FileType::regular, 0);
  volume.core().change_superblock();
  volume.core().orphans().add(inode).value();
  volume.close();
  const std::string path = volume.image().path();
  const std::string map =
      test::run_program("debugfs -R 'blocks <12>' " + path + " 2>/dev/null | grep -o '[0-9]*' | head -1").output;
  const long block = std::atol(map.c_str());
  ASSERT_GT(block, 0) << map;
  ASSERT_EQ(
      test::run_program("printf x | dd of=" + path + " bs=1 conv=notrunc seek=" + std::to_string(block * 4096 + 9))
          .status,
      0);
  const std::unique_ptr<device::Device> device = volume.image().open();
  const auto refused = VolumeCore::open(*device, false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), EUCLEAN);
  EXPECT_NE(refused.error().message().find("orphan file"), std::string::npos) << refused.error().message();
}

TEST(OrphanChain, CirclesEnd) {
  MountedVolume volume(64 * MiB, "-t ext4 -O ^has_journal");
  const InodeNumber first = volume.create(FileType::regular, 0);
  const InodeNumber second = volume.create(FileType::regular, 0);
  volume->inode(first).value()->body.i_dtime = raw(second);
  volume->inode(second).value()->body.i_dtime = raw(first);
  volume.core().change_superblock().s_last_orphan = raw(first);
  volume.close();
  const std::unique_ptr<device::Device> device = volume.image().open();
  const auto refused = VolumeCore::open(*device, false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), EUCLEAN);
  EXPECT_NE(refused.error().message().find("returns to inode"), std::string::npos) << refused.error().message();
}

}  // namespace
}  // namespace holdfast::ext4
