// Goal: blocks that somebody has pinned are nobody else's until the unpin, however they lost their file and however
// full the pool is; then their space is back. Method: the pool is filled to the last block while the pin is held.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/task.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

constexpr BreakOptions kDetach{.on_pinned = OnPinned::detach};

class Quarantined : public test::PoolTest, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  static constexpr std::uint64_t kBytes = 8 * MiB;

  void SetUp() override { make_pool({.cluster = GetParam()}, kBytes); }

  // Everything else gets 'f', in several files; false when a file overlaps what is held.
  bool fill(const Pin& pin) {
    bool apart = true;
    const std::vector<std::byte> piece = bytes(256 * KiB, 'f');
    for (unsigned number = 0;; ++number) {
      Result<File> made = fs().open("/fill" + std::to_string(number), Open::read_write | Open::create);
      if (!made) {
        EXPECT_EQ(code_of(made), ENOSPC);
        return apart;
      }
      File& file = *made;
      std::uint64_t at = 0;
      Result<std::size_t> done = file.write(at, piece);
      for (; done && at < MiB; done = file.write(at, piece)) at += *done;
      const std::vector<ExtentInfo> extents = file.extents().value();
      for (const ExtentInfo& extent : extents) apart = apart && !overlaps(extent, pin);
      if (done) continue;
      EXPECT_EQ(done.error().code(), ENOSPC);
      return apart;
    }
  }
  static bool overlaps(const ExtentInfo& extent, const Pin& pin) {
    for (const Segment& held : pin.segments()) {
      if (extent.device_offset < held.device_offset + held.length &&
          held.device_offset < extent.device_offset + extent.length) {
        return true;
      }
    }
    return false;
  }
  static bool holds(const Pin& pin, char byte) {
    for (const Segment& held : pin.segments()) {
      const auto* const end = held.address + held.length;
      if (std::find_if(held.address, held.address + held.length,
                       [byte](std::byte each) { return each != static_cast<std::byte>(byte); }) != end) {
        return false;
      }
    }
    return true;
  }

  // The pool is filled while `pin`, of `held` bytes, is held; a device goes on writing. Then the pin goes.
  void fill_release_and_refill(Pin pin, std::uint64_t held) {
    EXPECT_EQ(fs().space().quarantined, held);
    File last = make_file("/last");
    EXPECT_TRUE(fill(pin)) << "a new file has blocks that are held";
    EXPECT_EQ(code_of(last.write(0, bytes(held, 'l'))), ENOSPC);
    EXPECT_TRUE(holds(pin, 'p'));
    for (const Segment& each : pin.segments()) std::fill_n(each.address, each.length, std::byte{'d'});
    fs().sync().value();
    EXPECT_TRUE(holds(pin, 'd'));
    expect_fills_intact();
    const int drained = eventfd(0, EFD_CLOEXEC);
    ASSERT_GE(drained, 0);
    ASSERT_TRUE(fs().drain(drained));
    const std::uint64_t free = fs().space().free;
    pin.release();
    eventfd_t count = 0;
    EXPECT_EQ(eventfd_read(drained, &count), 0);  // blocks until the worker has freed it
    EXPECT_EQ(close_descriptor(drained), 0);
    EXPECT_EQ(fs().space().free, free + held);
    EXPECT_EQ(fs().space().quarantined, 0U);
    EXPECT_EQ(last.write(0, bytes(held, 'l')).value(), held) << "its space is usable";
  }
  static int close_descriptor(int fd) { return ::close(fd); }

  void expect_fills_intact() {
    std::vector<std::byte> got(2 * MiB);
    for (unsigned number = 0; exists("/fill" + std::to_string(number)); ++number) {
      const File file = fs().open("/fill" + std::to_string(number), Open::read).value();
      got.resize(file.size());
      ASSERT_EQ(file.read(0, got).value(), got.size());
      EXPECT_EQ(got, bytes(got.size(), 'f')) << number;
    }
  }
};

TEST_P(Quarantined, UnlinkAndTheLastClose) {
  const std::uint64_t free = fs().space().free;
  Pin pin;
  {
    File file = make_file("/file", 256 * KiB, 'p');
    pin = file.pin(0, 128 * KiB, {.access = Access::write}).value();
    fs().unlink("/file").value();
    EXPECT_EQ(fs().space().quarantined, 0U) << "a handle has it still";
  }
  EXPECT_EQ(fs().space().free, free - 128 * KiB);
  fill_release_and_refill(std::move(pin), 128 * KiB);
}

TEST_P(Quarantined, RenameOver) {
  Pin pin;
  {
    File file = make_file("/file", 256 * KiB, 'p');
    make_file("/new", 4096, 'n');
    pin = file.pin(64 * KiB, 128 * KiB, {.access = Access::write}).value();
    fs().rename("/new", "/file").value();
  }
  EXPECT_EQ(fs().stat("/file").value().size, 4096U);
  fill_release_and_refill(std::move(pin), 128 * KiB);
}

TEST_P(Quarantined, Truncate) {
  File file = make_file("/file", 256 * KiB, 'p');
  Pin pin = file.pin(64 * KiB, 128 * KiB, {.access = Access::write}).value();
  file.truncate(0, kDetach).value();
  fill_release_and_refill(std::move(pin), 128 * KiB);
}

// A pool without a free block: detach moves whole pages, which needs none; but a page that stays in part needs one.
TEST_P(Quarantined, DetachOnAFullPool) {
  File file = make_file("/file", 256 * KiB, 'p');
  Pin pin = file.pin(64 * KiB, 128 * KiB).value();
  EXPECT_TRUE(fill(Pin()));
  const Status part = file.truncate(64 * KiB + 100, kDetach);
  if (!part) {
    EXPECT_EQ(part.error().code(), ENOSPC);
    EXPECT_EQ(file.size(), 256 * KiB) << "nothing has changed";
    std::vector<std::byte> got(256 * KiB);
    EXPECT_EQ(file.read(0, got).value(), got.size());
    EXPECT_EQ(got, bytes(256 * KiB, 'p'));
  }
  file.truncate(0, kDetach).value();
  EXPECT_TRUE(holds(pin, 'p'));
}

INSTANTIATE_TEST_SUITE_P(Clusters, Quarantined, ::testing::Values(4 * KiB, 64 * KiB),
                         [](const auto& each) { return std::to_string(each.param / KiB) + "KiB"; });

// 511 units of a file are pinned, as many as a device with a deep queue may have: the 512th is nobody's.
class LargeUnits : public test::PoolTest {
 protected:
  void SetUp() override { make_pool({}, 1100 * MiB); }
};

TEST_F(LargeUnits, PinsOfOtherUnitsAreNotWaitedFor) {
  constexpr std::uint64_t kUnits = 512;
  constexpr std::uint64_t kUnit = 2 * MiB;
  File file = make_file("/file");
  file.allocate(0, kUnits * kUnit).value();
  std::vector<std::uint64_t> firsts;
  const std::vector<ExtentInfo> extents = file.extents().value();
  for (const ExtentInfo& extent : extents) {
    for (std::uint64_t at = (extent.offset + kUnit - 1) / kUnit * kUnit; at + kUnit <= extent.offset + extent.length;
         at += kUnit) {
      if ((extent.device_offset + (at - extent.offset)) % kUnit == 0) firsts.push_back(at);
    }
  }
  ASSERT_EQ(firsts.size(), kUnits) << "every unit can be mapped whole";
  std::vector<Pin> pins;
  // One page of each unit is tracked alone unless the unit is written: a pin of many pages makes it one entry.
  for (std::uint64_t unit = 0; unit + 1 < kUnits; ++unit) {
    pins.push_back(file.pin(unit * kUnit, 256 * KiB, {.access = Access::write}).value());
  }
  { const Pin touched = file.pin((kUnits - 1) * kUnit, 256 * KiB, {.access = Access::write}).value(); }
  test::MarkCount sleeps("layout.break.sleeps");
  EXPECT_EQ(code_of(file.punch((kUnits - 1) * kUnit + 64 * KiB, 4096)), 0);
  EXPECT_EQ(sleeps.passings(), 0U) << "it slept, and for whom";
  EXPECT_EQ(code_of(file.punch((kUnits - 1) * kUnit + 128 * KiB, 4096, {.on_pinned = OnPinned::fail})), 0);
  // That these are units: a page of a pinned one that the pin does not name is held all the same.
  EXPECT_EQ(code_of(file.punch(kUnit + MiB, 4096, {.on_pinned = OnPinned::fail})), EBUSY);
}

}  // namespace
}  // namespace holdfast
