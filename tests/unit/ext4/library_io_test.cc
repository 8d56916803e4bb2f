// Goal: libext2fs works on a volume through our cache and hooks without writing behind its back. Method: the library
// reads what we made and changes a file's blocks; our counts and e2fsck agree afterwards.
#include "ext4/library_io.h"

#include <gtest/gtest.h>

#include <string>

#include "ext4/directory.h"
#include "ext4/extent_tree.h"
#include "support/ext4_volume.h"

namespace holdfast::ext4 {
namespace {

using test::MountedVolume;

TEST(LibraryIo, ReadsAndChangesThroughTheCache) {
  for (const char* options : {"-t ext4 -O ^has_journal", "-t ext4 -O ^has_journal,^metadata_csum,^64bit"}) {
    MountedVolume volume(64 * MiB, options);
    const InodeNumber inode = volume.create(FileType::regular);
    add_name(*volume, InodeNumber{EXT2_ROOT_INO}, {"file", inode, FileType::regular}).value();
    const ext2_filsys library = volume->library();
    ASSERT_NE(library, nullptr);
    ext2_ino_t found = 0;
    ASSERT_EQ(ext2fs_lookup(library, EXT2_ROOT_INO, "file", 4, nullptr, &found), 0);
    EXPECT_EQ(found, raw(inode));

    const std::uint64_t free_before = volume->free_clusters();
    constexpr blk64_t kLength = 20;
    for (blk64_t logical = 0; logical < kLength; ++logical) {
      blk64_t block = 0;
      ASSERT_EQ(ext2fs_bmap2(library, raw(inode), nullptr, nullptr, BMAP_ALLOC, logical, nullptr, &block), 0);
      EXPECT_TRUE(volume->check_run({block, 1}).has_value());
    }
    EXPECT_EQ(volume->free_clusters(), free_before - kLength);
    std::vector<filesystem::Extent> extents;
    find_extents(*volume, inode, {PageIndex(0), kEndOfFile}, extents).value();
    ASSERT_FALSE(extents.empty());
    EXPECT_EQ(extents.back().index + extents.back().count, PageIndex(kLength));
    volume->inode(inode).value()->body.i_size = kLength * 4096;
    ASSERT_EQ(ext2fs_punch(library, raw(inode), nullptr, nullptr, 5, 9), 0);
    EXPECT_EQ(volume->free_clusters(), free_before - kLength + 5);
    volume.close();
    EXPECT_TRUE(test::e2fsck_clean(volume.image().path())) << options;
  }
}

}  // namespace
}  // namespace holdfast::ext4
