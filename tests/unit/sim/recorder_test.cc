// Goal: a recorder says what the medium may hold after a power failure, no more and no less. Method: a few stores,
// flushes and fences on a recording device, and the cut that they leave.
#include "sim/recorder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <thread>

#include "device/device.h"

namespace holdfast::sim {
namespace {

constexpr std::uint64_t kBytes = 64 * 1024;

class RecorderTest : public ::testing::TestWithParam<Medium> {
 protected:
  void SetUp() override { make(GetParam()); }
  void make(Medium medium) {
    device_.reset();
    recorder_.emplace(medium, kBytes);
    device_ = recorder_->open().value();
  }
  void store(std::uint64_t offset, unsigned char value) { *device_->at(offset) = std::byte{value}; }
  void flush(std::uint64_t offset, std::uint64_t length = 1) { device_->flush(offset, length).value(); }
  void fence() { device_->fence().value(); }
  static unsigned value(const Bytes& bytes, std::uint64_t offset = 0) {
    return std::to_integer<unsigned>(bytes[offset]);
  }
  // First byte of each version of the unit.
  static std::vector<unsigned> values(const CutUnit& unit) {
    std::vector<unsigned> values;
    for (const Version& version : unit.versions) values.push_back(value(version.bytes));
    return values;
  }

  std::optional<Recorder> recorder_;
  std::unique_ptr<device::Device> device_;
};

TEST_P(RecorderTest, IsTakenForACarrierThatKeepsBytes) {
  EXPECT_TRUE(device_->geometry().survives_reboot);
  EXPECT_EQ(device_->geometry().kind, GetParam() == Medium::lines ? device::Kind::devdax : device::Kind::disk_file);
  EXPECT_EQ(device_->geometry().size, kBytes);
}

TEST_P(RecorderTest, WhatNobodyFlushedMayBeThereOrNot) {
  store(4096, 7);
  fence();
  const Cut cut = recorder_->cut();
  ASSERT_EQ(cut.units.size(), 1U);
  EXPECT_EQ(cut.units[0].offset, 4096U);
  EXPECT_FALSE(cut.units[0].flushed());
  EXPECT_EQ(values(cut.units[0]), (std::vector<unsigned>{0, 7}));
  EXPECT_EQ(value(*cut.base, 4096), 0U);
}

TEST_P(RecorderTest, WhatWasFlushedIsThereAfterTheFenceAndNotBefore) {
  store(0, 1);
  flush(0);
  std::size_t seen = 0;
  recorder_->watch([&seen](const Cut& cut) {
    ++seen;
    ASSERT_EQ(cut.units.size(), 1U);
    EXPECT_TRUE(cut.units[0].flushed());
    EXPECT_EQ(values(cut.units[0]), (std::vector<unsigned>{0, 1}));
  });
  fence();
  EXPECT_EQ(seen, 1U);
  EXPECT_TRUE(recorder_->cut().units.empty());
  EXPECT_EQ(value(*recorder_->cut().base), 1U);
  fence();
  EXPECT_EQ(seen, 1U) << "nothing was to be lost";
  EXPECT_EQ(recorder_->fences(), 2U);
}

TEST_P(RecorderTest, EveryVersionThatWasSeenMayBeThere) {
  store(0, 1);
  flush(0);
  store(0, 2);
  flush(0);
  store(0, 3);
  const Cut cut = recorder_->cut();
  ASSERT_EQ(cut.units.size(), 1U);
  EXPECT_EQ(values(cut.units[0]), (std::vector<unsigned>{0, 1, 2, 3}));
  for (unsigned version = 0; version < 4; ++version) {
    Bytes image;
    cut.make_image({{.version = version}}, image);
    EXPECT_EQ(value(image), version);
  }
}

TEST_P(RecorderTest, AStoreAfterTheFlush) {
  store(0, 1);
  flush(0);
  store(0, 2);
  fence();
  const Cut cut = recorder_->cut();
  if (GetParam() == Medium::pages) {
    // The fence has written what the page held then.
    EXPECT_TRUE(cut.units.empty());
    EXPECT_EQ(value(*cut.base), 2U);
    return;
  }
  ASSERT_EQ(cut.units.size(), 1U);
  EXPECT_EQ(values(cut.units[0]), (std::vector<unsigned>{1, 2}));
}

TEST_P(RecorderTest, AFenceOfAnotherThread) {
  store(0, 1);
  flush(0);
  std::thread([this] { fence(); }).join();
  EXPECT_EQ(recorder_->cut().units.empty(), GetParam() == Medium::pages);
  fence();
  EXPECT_TRUE(recorder_->cut().units.empty());
}

// Two threads have flushed it, the first fence has made it durable; the second one asks for nothing newer.
TEST_P(RecorderTest, AnOldFlushDoesNotSpeakOfANewStore) {
  if (GetParam() == Medium::pages) return;
  store(0, 1);
  flush(0);
  std::thread([this] {
    flush(0);
    fence();
  }).join();
  EXPECT_TRUE(recorder_->cut().units.empty());
  store(0, 2);
  fence();
  const Cut cut = recorder_->cut();
  ASSERT_EQ(cut.units.size(), 1U);
  EXPECT_EQ(values(cut.units[0]), (std::vector<unsigned>{1, 2}));
}

TEST_P(RecorderTest, ManyVersionsAreNotAllKept) {
  for (unsigned char i = 1; i < 100; ++i) {
    store(0, i);
    fence();
  }
  const Cut cut = recorder_->cut();
  ASSERT_EQ(cut.units.size(), 1U);
  EXPECT_LT(cut.units[0].versions.size(), 10U);
  EXPECT_EQ(values(cut.units[0]).front(), 0U);
  EXPECT_EQ(values(cut.units[0]).back(), 99U);
}

TEST_P(RecorderTest, AnotherLifeBeginsWithTheSameBytes) {
  store(5000, 9);
  device_.reset();
  device_ = recorder_->open().value();
  EXPECT_EQ(*device_->at(5000), std::byte{9});
  flush(5000);
  fence();
  Recorder after(GetParam(), *recorder_->cut().base);
  EXPECT_EQ(*after.open().value()->at(5000), std::byte{9});
  EXPECT_TRUE(after.cut().units.empty());
}

INSTANTIATE_TEST_SUITE_P(Media, RecorderTest, ::testing::Values(Medium::lines, Medium::pages),
                         [](const auto& each) { return each.param == Medium::lines ? "lines" : "pages"; });

}  // namespace
}  // namespace holdfast::sim
