// Goal: what make_filesystem makes is an ext4 file system to e2fsck, of any size and cluster, cheap at any size, and
// never in place of something else. Method: sizes in small and large steps, every cluster size, judged by e2fsck -fn.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>

#include "base/fault_point.h"
#include "ext4/ext4.h"
#include "ext4/superblock.h"
#include "journal_bed.h"
#include "support/crash_copy.h"
#include "support/ext4_volume.h"

namespace holdfast::ext4 {
namespace {

using test::dumpe2fs_number;
using test::e2fsck_clean;
using test::Ext4Image;

Status make(const Ext4Image& image, const MkfsOptions& options = {}) {
  const std::unique_ptr<device::Device> device = image.open();
  return make_filesystem(*device, options);
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

TEST(Mkfs, SizesInSmallSteps) {
  for (std::uint64_t size = MiB; size <= 4 * MiB; size += 192 * KiB) {
    const Ext4Image image(size);
    const Status made = make(image);
    ASSERT_TRUE(made.has_value()) << size << ": " << made.error().message();
    EXPECT_TRUE(e2fsck_clean(image.path())) << size;
  }
}

// Around the end of a group: a last group of a few blocks is left out, one of more is used.
TEST(Mkfs, SizesAroundAGroup) {
  for (const std::uint64_t more : {std::uint64_t{0}, 4 * KiB, 252 * KiB, 256 * KiB, 260 * KiB, MiB}) {
    const Ext4Image image(128 * MiB + more);
    ASSERT_TRUE(make(image).has_value()) << more;
    EXPECT_TRUE(e2fsck_clean(image.path())) << more;
    EXPECT_EQ(dumpe2fs_number(image.path(), "Block count"),
              static_cast<std::int64_t>((more < 256 * KiB ? 128 * MiB : 128 * MiB + more) / 4096));
  }
}

TEST(Mkfs, EveryClusterSize) {
  for (std::uint64_t cluster = 8 * KiB; cluster <= 2 * MiB; cluster *= 2) {
    for (const std::uint64_t size : {smallest_device(cluster), 64 * MiB + 12 * KiB, 300 * MiB}) {
      const Ext4Image image(size);
      const Status made = make(image, {.cluster_bytes = cluster});
      ASSERT_TRUE(made.has_value()) << cluster << " in " << size << ": " << made.error().message();
      EXPECT_TRUE(e2fsck_clean(image.path())) << cluster << " in " << size;
    }
  }
}

TEST(Mkfs, LargeSizesTouchLittle) {
#if defined(__SANITIZE_THREAD__)  // it needs the address space itself
  constexpr std::uint64_t kLargest = TiB;
#else
  constexpr std::uint64_t kLargest = 16 * TiB;
#endif
  for (const std::uint64_t size : {3 * GiB, 256 * GiB, kLargest}) {
    const Ext4Image image(size);
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_TRUE(make(image).has_value()) << size;
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    std::printf("mkfs of %llu GiB: %.1f ms, %llu KiB touched\n", static_cast<unsigned long long>(size / GiB),
                took.count(), static_cast<unsigned long long>(allocated_bytes(image.path()) / KiB));
    // Descriptors twice, a bitmap for each group that holds metadata (one in sixty-two), and what is reserved with
    // them, in chunks of 2 MiB.
    EXPECT_LE(allocated_bytes(image.path()), 12 * MiB + size / (128 * MiB) * (64 * 2 + 4096 / 32));
    if (size > 256 * GiB) continue;  // e2fsck reads every bitmap
    EXPECT_TRUE(e2fsck_clean(image.path())) << size;
  }
}

TEST(Mkfs, LeavesWholeGibibytesFree) {
  const Ext4Image image(32 * GiB);
  const std::unique_ptr<device::Device> device = image.open();
  ASSERT_TRUE(make_filesystem(*device, {}).has_value());
  const auto volume = VolumeCore::open(*device, true).value();
  unsigned whole = 0;
  for (std::uint64_t unit = 0; unit < 32; ++unit) {
    std::uint64_t free_here = 0;
    for (GroupNumber group = 0; group < 8; ++group) {
      free_here += volume->groups().free_clusters(static_cast<GroupNumber>(unit * 8 + group));
    }
    if (free_here == GiB / 4096) ++whole;
  }
  EXPECT_EQ(whole, 31u);
}

TEST(Mkfs, LabelInodesAndIdentity) {
  const Ext4Image first(16 * MiB);
  const Ext4Image second(16 * MiB);
  const MkfsOptions options{.label = "sixteen bytes ok",
                            .inodes = 5000,
                            .uuid = std::array<std::uint8_t, 16>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
                            .time = FileTime{1'700'000'000, 0}};
  ASSERT_TRUE(make(first, options).has_value());
  ASSERT_TRUE(make(second, options).has_value());
  EXPECT_TRUE(e2fsck_clean(first.path()));
  EXPECT_GE(dumpe2fs_number(first.path(), "Inode count"), 5000);
  EXPECT_NE(test::run_program("dumpe2fs -h " + first.path()).output.find("sixteen bytes ok"), std::string::npos);
  EXPECT_NE(test::run_program("dumpe2fs -h " + first.path()).output.find("01020304-0506-0708-090a-0b0c0d0e0f10"),
            std::string::npos);
  const Ext4Image other(16 * MiB);
  ASSERT_TRUE(make(other).has_value());
  EXPECT_NE(test::run_program("cmp " + first.path() + " " + other.path()).status, 0);
}

TEST(Mkfs, RefusesWhatIsThere) {
  const Ext4Image image(16 * MiB, "-t ext4 -L precious");
  const Status refused = make(image);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), EEXIST);
  EXPECT_NE(refused.error().message().find("ext4 file system labelled \"precious\""), std::string::npos)
      << refused.error().message();
  EXPECT_TRUE(e2fsck_clean(image.path()));
  ASSERT_TRUE(make(image, {.force = true}).has_value());
  EXPECT_TRUE(e2fsck_clean(image.path()));
}

TEST(Mkfs, ForceOverGarbage) {
  const Ext4Image image(24 * MiB);
  ASSERT_EQ(test::run_program("yes garbage | head -c 25165824 > " + image.path()).status, 0);
  ASSERT_TRUE(make(image, {.force = true}).has_value());
  EXPECT_TRUE(e2fsck_clean(image.path()));
}

TEST(Mkfs, NamesOtherFileSystems) {
  const struct {
    long offset;
    const char* bytes;
    const char* name;
  } kinds[] = {{0, "XFSB", "XFS"}, {0x10040, "_BHRfS_M", "Btrfs"}, {4086, "SWAPSPACE2", "swap"}};
  for (const auto& kind : kinds) {
    const Ext4Image image(16 * MiB);
    std::fstream(image.path()).seekp(kind.offset) << kind.bytes;
    const Status refused = make(image);
    ASSERT_FALSE(refused.has_value()) << kind.name;
    EXPECT_EQ(refused.error().code(), EEXIST);
    EXPECT_NE(refused.error().message().find(kind.name), std::string::npos) << refused.error().message();
  }
}

TEST(Mkfs, RefusesImpossibleOptions) {
  const Ext4Image image(16 * MiB);
  const struct {
    MkfsOptions options;
    int code;
  } cases[] = {
      {{.cluster_bytes = 2048}, EINVAL},
      {{.cluster_bytes = 4 * MiB}, EINVAL},
      {{.cluster_bytes = 12288}, EINVAL},
      {{.cluster_bytes = 2 * MiB}, ENOSPC},
      {{.label = "seventeen bytes!!"}, EINVAL},
      {{.inodes = 1u << 20}, EINVAL},
      {{.inodes = 32768}, ENOSPC},
  };
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    // 32,768 inodes take 8 MiB.
    const std::unique_ptr<device::Device> device = i == 6 ? Ext4Image(8 * MiB).open() : image.open();
    const Status refused = make_filesystem(*device, cases[i].options);
    ASSERT_FALSE(refused.has_value()) << i;
    EXPECT_EQ(refused.error().code(), cases[i].code) << i << ": " << refused.error().message();
    EXPECT_EQ(read_superblock(*device).error().code(), EINVAL) << i;
  }
  const Ext4Image tiny(MiB - 4096);
  const Status refused = make(tiny);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ENOSPC);
  EXPECT_NE(refused.error().message().find("1024 KiB"), std::string::npos) << refused.error().message();
}

// Its writes reach the device in order; after each of them there is no file system, but after the last.
TEST(Mkfs, OneThatWasCutShortLeavesNothingToMount) {
  const Ext4Image before(16 * MiB, "-t ext4");
  for (const bool over_another : {false, true}) {
    for (const char* point : {"device.flush", "device.fence"}) {
      unsigned cuts = 0;
      for (;; ++cuts) {
        ASSERT_LT(cuts, 500u);
        const Ext4Image image(16 * MiB);
        if (over_another) test::copy_image(before.path(), image.path());
        const std::unique_ptr<device::Device> device = image.open();
        fault_point::arm(point, cuts + 1);
        const Status made =
            make_filesystem(*device, {.force = true, .journal = NewJournal::sized, .journal_bytes = 4 * MiB});
        fault_point::disarm_all();
        if (made) break;
        EXPECT_EQ(made.error().code(), EIO);
        // The last one is stored whole, and only not known to be durable.
        const auto read = read_superblock(*device);
        if (read) {
          EXPECT_FALSE(read->torn);
          EXPECT_TRUE(e2fsck_clean(image.path())) << point << " " << cuts;
        } else {
          EXPECT_EQ(mount(*device, {}).error().code(), EINVAL) << point << " " << cuts;
        }
      }
      EXPECT_GT(cuts, 3u) << point;
    }
  }
}

// The old log lies where the new one does, and its blocks verify by the same UUID.
TEST(Mkfs, AnOldLogOfTheSameUuidIsNotReplayed) {
  const MkfsOptions options{
      .force = true,
      .journal = NewJournal::sized,
      .journal_bytes = 4 * MiB,
      .uuid = std::array<std::uint8_t, 16>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
  const Ext4Image image(32 * MiB);
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(make(image, options).has_value());
    const std::unique_ptr<device::Device> device = image.open();
    const auto format = mount(*device, {}).value();
    EXPECT_EQ(format->recovery().transactions, 0u) << round;
    const InodeNumber directory =
        make_named(*format, format->root(), "of" + std::to_string(round), FileType::directory);
    for (int i = 0; i < 20; ++i) {
      make_named(*format, directory, "f" + std::to_string(i));
      format->commit().value();
    }
    // Killed, with a log; and what a mount replays of it is its own.
    test::copy_image(image.path(), image.path() + ".killed");
    EXPECT_GT(recover_by_mount(image.path() + ".killed").transactions, 10u);
    const auto killed = device::Device::open(image.path() + ".killed", device::OpenMode::read_only).value();
    const auto found = mount(*killed, {.read_only = true}).value();
    for (int other = 0; other < round; ++other) {
      EXPECT_FALSE(found->lookup(found->root(), "of" + std::to_string(other)).value().has_value());
    }
  }
}

}  // namespace
}  // namespace holdfast::ext4
