// Goal: what changes more than the smallest journal takes at once is done in steps, and stops no pool: an allocation in
// thousands of pieces, the record of them, their removal, and a detach of thousands of pages held one by one. Method:
// pools whose free space is every other block, with a journal of 4 MiB, in large groups and in the smallest.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/fault_point.h"
#include "support/crash_copy.h"
#include "support/ext4_volume.h"
#include "support/mark_stop.h"
#include "support/pool_fixture.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

constexpr std::uint64_t kPage = 4096;
constexpr BreakOptions kDetach{.on_pinned = OnPinned::detach};

class Fragmented : public testing::TestWithParam<const char*> {
 protected:
  static constexpr std::uint64_t kBytes = 160 * MiB;

  void SetUp() override { mount(); }
  void TearDown() override {
    fault_point::disarm_all();
    if (!fs_) return;
    unmount();
    EXPECT_TRUE(test::e2fsck_clean(image_.path()));
  }
  void mount() { fs_.emplace(Filesystem::mount(Device::open(image_.path()).value()).value()); }
  void unmount() {
    const Status closed = fs_->unmount();
    EXPECT_TRUE(closed) << closed.error().message();
    fs_.reset();
  }
  Filesystem& fs() { return *fs_; }
  File open(const std::string& path) { return fs().open(path, Open::read_write | Open::create).value(); }

  // All free space is single blocks, `left` bytes of it.
  void fragment(std::uint64_t left) {
    File filler = open("/filler");
    std::uint64_t end = 0;
    for (std::uint64_t step = 8 * MiB; step >= kPage; step /= 2) {
      while (filler.allocate(end, step)) end += step;
    }
    const std::uint64_t first = end - 2 * left;
    for (std::uint64_t at = first / (2 * kPage) * 2 * kPage; at + kPage <= end; at += 2 * kPage) {
      filler.punch(at, kPage).value();
    }
    fs().sync().value();
  }

  static std::vector<std::byte> content(std::uint64_t at) {
    return bytes(MiB, static_cast<unsigned char>('a' + at / MiB % 20));
  }

  const test::Ext4Image image_{kBytes, GetParam()};
  std::optional<Filesystem> fs_;
};

TEST_P(Fragmented, AnAllocationInThousandsOfPieces) {
  fragment(50 * MiB);
  const std::uint64_t free = fs().space().free;
  const test::MarkCount parts("allocation.part");
  {
    File file = open("/file");
    file.allocate(0, 40 * MiB).value();
    EXPECT_GT(file.extents().value().size(), 9000u);
    // All in one call, all to be recorded at once.
    for (std::uint64_t at = 0; at < 40 * MiB; at += MiB) file.write(at, content(at)).value();
    file.sync().value();
  }
  unmount();
  EXPECT_TRUE(test::e2fsck_clean(image_.path()));
  mount();
  {
    File file = open("/file");
    std::vector<std::byte> found(MiB);
    for (std::uint64_t at = 0; at < 40 * MiB; at += MiB) {
      ASSERT_EQ(file.read(at, found).value(), MiB);
      ASSERT_TRUE(found == content(at)) << at;
    }
    file.punch(10 * MiB, 5 * MiB + 123).value();
    file.truncate(3 * MiB + 1).value();
  }
  fs().unlink("/file").value();
  static_cast<void>(fs().quarantine());
  fs().sync().value();
  EXPECT_GE(fs().space().free + MiB, free);
  EXPECT_GT(parts.passings(), 0u);
}

// More than there is: nothing of it stays, though the first handles had found their share.
TEST_P(Fragmented, AnAllocationThatFindsTooLittle) {
  fragment(30 * MiB);
  File file = open("/file");
  file.write(0, bytes(2 * MiB, 'k')).value();
  file.sync().value();
  const std::uint64_t free = fs().space().free;
  EXPECT_EQ(code_of(file.allocate(kPage, 100 * MiB)), ENOSPC);
  std::uint64_t at = 2 * MiB;
  EXPECT_EQ(code_of(file.allocate(at, free)), ENOSPC);
  fs().sync().value();
  EXPECT_EQ(fs().space().free, free);
  std::vector<std::byte> found(2 * MiB);
  EXPECT_EQ(file.read(0, found).value(), found.size());
  EXPECT_TRUE(found == bytes(2 * MiB, 'k'));
}

class HeldHereAndThere : public Fragmented {
 protected:
  static constexpr std::uint64_t kPages = 3000;

  void SetUp() override {
    Fragmented::SetUp();
    File file = open("/file");
    // Every page an extent of its own.
    for (std::uint64_t page = 0; page < 2 * kPages; page += 2) file.write(page * kPage, bytes(kPage, 'p')).value();
    file.sync().value();
    for (std::uint64_t page = 0; page < 2 * kPages; page += 4) {
      pins_.push_back(file.pin(page * kPage, kPage, {.access = Access::write}).value());
    }
  }
  void TearDown() override {
    pins_.clear();
    Fragmented::TearDown();
  }
  bool held_keep() const {
    for (const Pin& pin : pins_) {
      const Segment held = pin.segments().front();
      if (std::vector<std::byte>(held.address, held.address + kPage) != bytes(kPage, 'p')) return false;
    }
    return true;
  }
  std::string extents() {
    std::string all;
    const std::vector<ExtentInfo> list = open("/file").extents().value();
    for (const ExtentInfo& each : list) {
      all += std::to_string(each.offset) + ":" + std::to_string(each.device_offset) + " ";
    }
    return all;
  }

  std::vector<Pin> pins_;
};

TEST_P(HeldHereAndThere, ATruncateLeavesThemInQuarantine) {
  {
    test::CrashCopy crash("quarantine.handle", image_.path(), image_.path() + ".crash", 20);
    open("/file").truncate(2 * kPage + 100, kDetach).value();
    ASSERT_TRUE(crash.taken());
  }
  EXPECT_TRUE(held_keep());
  EXPECT_EQ(fs().space().quarantined, (pins_.size() - 1) * kPage);
  pins_.clear();
  EXPECT_EQ(fs().space().quarantined, 0u);
  // A crash amid the handles leaves the file as it was, or as short as it was to be.
  EXPECT_LE(test::run_program("e2fsck -p " + image_.path() + ".crash").status, 1);
  EXPECT_TRUE(test::e2fsck_clean(image_.path() + ".crash"));
}

TEST_P(HeldHereAndThere, NothingHasMovedWhenSpaceRunsOutLate) {
  const std::string before = extents();
  const std::uint64_t free = fs().space().free;
  for (const bool zeroes : {false, true}) {
    fault_point::arm("quarantine.move", 500);
    File file = open("/file");
    const Status status =
        zeroes ? file.zero_range(50, 2 * kPages * kPage - 200, kDetach) : file.truncate(2 * kPage + 100, kDetach);
    fault_point::disarm_all();
    EXPECT_EQ(code_of(status), ENOSPC);
    EXPECT_TRUE(held_keep());
    if (zeroes) break;  // blocks for the holes have come
    EXPECT_EQ(extents(), before);
    EXPECT_EQ(file.stat().value().size, (2 * kPages - 1) * kPage);
    EXPECT_EQ(fs().space().quarantined, 0u);
    fs().sync().value();
    EXPECT_GE(fs().space().free + 64 * kPage, free);
  }
}

TEST_P(HeldHereAndThere, AZeroRangeGivesTheFileCopies) {
  File file = open("/file");
  file.zero_range(50, 2 * kPages * kPage - 200, kDetach).value();
  EXPECT_TRUE(held_keep());
  std::vector<std::byte> found(kPage);
  EXPECT_EQ(file.read(8 * kPage, found).value(), kPage);
  EXPECT_TRUE(found == bytes(kPage, 0));
  EXPECT_GT(fs().space().quarantined, (pins_.size() - 2) * kPage);
}

// So many groups that one extent may lie in more of them than the journal takes blocks.
TEST(SmallGroups, FilesAreCutAndSynced) {
  const test::Ext4Image image(1200 * MiB, "-t ext4 -g 256 -N 2048 -J size=4");
  {
    Filesystem fs = Filesystem::mount(Device::open(image.path()).value()).value();
    File file = fs.open("/file", Open::read_write | Open::create).value();
    for (std::uint64_t at = 0; at < 400 * MiB; at += MiB) file.write(at, bytes(kPage, 'x')).value();
    file.sync().value();
    file.allocate(0, 200 * MiB).value();
    Pin pin = file.pin(100 * MiB, kPage).value();
    file.punch(99 * MiB, 2 * MiB, kDetach).value();
    file.truncate(150 * MiB).value();
    file.truncate(1).value();
  }
  EXPECT_TRUE(test::e2fsck_clean(image.path()));
}

constexpr const char* kGroups[] = {"-t ext4 -J size=4", "-t ext4 -g 256 -N 1024 -J size=4"};
std::string name_of(const testing::TestParamInfo<const char*>& info) { return info.index == 0 ? "Large" : "Small"; }
INSTANTIATE_TEST_SUITE_P(Groups, Fragmented, testing::ValuesIn(kGroups), name_of);
INSTANTIATE_TEST_SUITE_P(Groups, HeldHereAndThere, testing::ValuesIn(kGroups), name_of);

}  // namespace
}  // namespace holdfast
