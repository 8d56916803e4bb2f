// Symbolic links of every length are written and read as e2fsck and the kernel want them. Method: the links of a tree
// that mke2fs copied are given new targets; failures and damage in between.
#include "ext4/symlink.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/fault_point.h"
#include "ext4/extent_tree.h"
#include "support/ext4_bed.h"
#include "support/loop_mount.h"
#include "support/skip.h"

namespace holdfast::ext4 {
namespace {

using test::Ext4Bed;
using test::ScratchDirectory;

constexpr std::array<std::size_t, 7> kLengths = {1, 58, 59, 60, 61, 4094, 4095};

std::string target_of(std::size_t length) {
  std::string target;
  while (target.size() < length) target += fmt::format("d{}/", target.size());
  target.resize(length);
  return target;
}

// A tree of links /l<length> to "x".
void make_links(const ScratchDirectory& tree) {
  for (const std::size_t length : kLengths) {
    ASSERT_EQ(symlink("x", tree.file(fmt::format("l{}", length)).c_str()), 0);
  }
}

TEST(Symlink, EveryLengthIsReadBackAndStaysClean) {
  for (const char* options : {"", "-O bigalloc -C 65536", "-O ^metadata_csum,^64bit"}) {
    ScratchDirectory tree;
    make_links(tree);
    Ext4Bed bed(64 * MiB, options, 0, tree.path());
    std::vector<InodeNumber> links;
    for (const std::size_t length : kLengths) links.push_back(bed.inode_of(fmt::format("/l{}", length)));
    const std::uint64_t free_before = bed.volume().free_clusters();
    for (std::size_t i = 0; i < kLengths.size(); ++i) {
      EXPECT_EQ(read_symlink(bed.volume(), links[i]).value(), "x");
      ASSERT_TRUE(write_symlink(bed.volume(), links[i], target_of(kLengths[i])));
      EXPECT_EQ(read_symlink(bed.volume(), links[i]).value(), target_of(kLengths[i]));
    }
    EXPECT_TRUE(bed.clean());
    bed.reopen();
    for (std::size_t i = 0; i < kLengths.size(); ++i) {
      EXPECT_EQ(read_symlink(bed.volume(), links[i]).value(), target_of(kLengths[i]));
    }
    bed.close();
    {
      const test::LoopMount mount(bed.image(), "ro");
      if (!mount.refusal().empty()) HF_SKIP_CAPABILITY("loop", mount.refusal());
      for (const std::size_t length : kLengths) {
        std::array<char, 5000> text;
        const ssize_t got = readlink(mount.path(fmt::format("l{}", length)).c_str(), text.data(), text.size());
        ASSERT_GT(got, 0);
        EXPECT_EQ(std::string(text.data(), static_cast<std::size_t>(got)), target_of(length));
      }
    }
    bed.open();
    for (std::size_t i = 0; i < kLengths.size(); ++i) {
      const PageRange whole{PageIndex(0), kEndOfFile};
      EXPECT_EQ(remove_extents(bed.volume(), links[i], whole, 1).value().raw(), 0u);
    }
    EXPECT_EQ(bed.volume().free_clusters(), free_before) << "blocks of links were lost";
  }
}

TEST(Symlink, LinksOfTheKernelAreRead) {
  Ext4Bed bed(64 * MiB, "", 0);
  bed.close();
  {
    const test::LoopMount mount(bed.image(), "rw");
    if (!mount.refusal().empty()) HF_SKIP_CAPABILITY("loop", mount.refusal());
    for (const std::size_t length : kLengths) {
      ASSERT_EQ(symlink(target_of(length).c_str(), mount.path(fmt::format("k{}", length)).c_str()), 0);
    }
  }
  bed.open();
  for (const std::size_t length : kLengths) {
    const InodeNumber link = bed.inode_of(fmt::format("/k{}", length));
    const Result<std::string> target = read_symlink(bed.volume(), link);
    ASSERT_TRUE(target) << target.error().message();
    EXPECT_EQ(*target, target_of(length));
  }
}

TEST(Symlink, WhatCannotBeIsRefusedAndChangesNothing) {
  ScratchDirectory tree;
  make_links(tree);
  Ext4Bed bed(64 * MiB, "", 1, tree.path());
  Volume& volume = bed.volume();
  const InodeNumber link = bed.inode_of("/l60");
  const auto code = [&](InodeNumber inode, const std::string& target) {
    const Status status = write_symlink(volume, inode, target);
    return status ? 0 : status.error().code();
  };
  EXPECT_EQ(code(link, ""), EINVAL);
  EXPECT_EQ(code(link, std::string("a\0b", 3)), EINVAL);
  EXPECT_EQ(code(link, target_of(4096)), ENAMETOOLONG);
  EXPECT_EQ(code(bed.file(0), "a"), EINVAL);
  EXPECT_EQ(read_symlink(volume, bed.file(0)).error().code(), EINVAL);
  fault_point::arm("ext4.extent.data", 1);
  EXPECT_EQ(code(link, target_of(60)), ENOSPC);
  fault_point::disarm_all();
  EXPECT_EQ(read_symlink(volume, link).value(), "x");
  EXPECT_TRUE(bed.clean());
  ASSERT_EQ(code(link, target_of(60)), 0);
  EXPECT_EQ(code(link, target_of(70)), EINVAL) << "it has a target";
  EXPECT_EQ(code(link, "short"), EINVAL);
  EXPECT_EQ(read_symlink(volume, link).value(), target_of(60));
  EXPECT_TRUE(bed.clean());
}

TEST(Symlink, DamagedOnesAreRefused) {
  ScratchDirectory tree;
  make_links(tree);
  Ext4Bed bed(64 * MiB, "", 0, tree.path());
  Volume& volume = bed.volume();
  const InodeNumber fast = bed.inode_of("/l1");
  const InodeNumber slow = bed.inode_of("/l60");
  ASSERT_TRUE(write_symlink(volume, slow, target_of(60)));
  const auto code = [&](InodeNumber inode) { return read_symlink(volume, inode).error().code(); };
  RawInode& fast_inode = *volume.inode(fast).value();
  RawInode& slow_inode = *volume.inode(slow).value();
  for (const std::uint32_t size : {0u, 2u, 59u, 4096u, 0xffffffffu}) {
    fast_inode.body.i_size = size;
    EXPECT_EQ(code(fast), EUCLEAN) << size;
  }
  for (const std::uint32_t size : {0u, 61u, 4096u}) {
    slow_inode.body.i_size = size;
    EXPECT_EQ(code(slow), EUCLEAN) << size;
  }
  slow_inode.body.i_size = 60;
  EXPECT_TRUE(read_symlink(volume, slow));
  make_extent_root(slow_inode);
  EXPECT_EQ(code(slow), EUCLEAN) << "no block";
}

}  // namespace
}  // namespace holdfast::ext4
