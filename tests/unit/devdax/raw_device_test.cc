// Goal: a raw device is one file in units of one size: whatever is touched or pinned makes one entry of the unit's
// order at the unit's index, counted once; windows and pins show the device's own bytes; what does not fit is refused
// by name. Method: every unit size on every carrier, bytes compared with the device window, counts read from the page
// map.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "unit/devdax/raw_bed.h"

namespace holdfast::devdax {
namespace {

using testing::HasSubstr;

class RawDevices : public RawBed, public ::testing::WithParamInterface<RawSetting> {
 protected:
  void SetUp() override { open(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Everywhere, RawDevices, testing::ValuesIn(kRawSettings),
                         [](const auto& each) { return name_of(each.param); });

TEST_P(RawDevices, AWindowShowsTheDevice) {
  const std::uint64_t unit = unit_bytes();
  put(core()->window() + unit + 5, "before");
  const Shown window = show(unit, unit);
  EXPECT_EQ(text(window.data() + 5, 6), "before");
  put(window.data() + unit - 10, "after");
  EXPECT_EQ(text(core()->window() + 2 * unit - 10, 5), "after");
  // And zeros where nobody ever stored.
  EXPECT_EQ(window.data()[100], std::byte{0});
}

// D6 and series patch 13: one entry, one reference, one device reference for a touched unit, whatever its size.
TEST_P(RawDevices, ATouchCountsOneUnit) {
  const std::uint64_t unit = unit_bytes();
  const Shown window = show(0, 2 * unit);
  if (!window.takes_faults()) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
  EXPECT_EQ(core()->pages().references(), 0U);
  window.data()[unit + unit / 2 + 1] = std::byte{1};
  EXPECT_EQ(count(unit).refcount(), 1U);
  EXPECT_EQ(count(unit).tracked(), 1U);
  if (setting().unit > kOrder4K) {
    EXPECT_EQ(core()->pages().references(), 1U);
    EXPECT_EQ(count(0).refcount(), 0U);
  }
  // Every page of the unit names the same entry.
  const PageIndex first = page_holding(unit);
  for (const std::uint64_t page :
       {std::uint64_t{0}, setting().unit.pages().raw() / 2, setting().unit.pages().raw() - 1}) {
    const mapping::Entry entry = core()->mapping().lookup(first + PageCount(page));
    EXPECT_TRUE(entry.tracks());
    EXPECT_EQ(entry.order(), setting().unit);
    EXPECT_EQ(entry.pfn(), Pfn(first.raw()));
  }
  window.data()[unit + 7] = std::byte{1};
  EXPECT_EQ(count(unit).tracked(), 1U) << "a second touch counted again";
  EXPECT_EQ(core()->mapping().check().value_or(""), "");
}

// D5: the back pointer is the index of the unit, rounded down, wherever in it the pin lies.
TEST_P(RawDevices, APinTracksAnUntouchedUnit) {
  const std::uint64_t unit = unit_bytes();
  const std::uint64_t offset = unit + unit / 2;
  const Pfn first(unit >> kPageShift);
  // A raw count cannot be taken of what nobody tracks: 0 never becomes 1 but by an entry.
  EXPECT_EQ(core()->pages().try_pin(first, setting().unit), pagemap::TakeOutcome::untracked);
  EXPECT_EQ(code_of(try_pin(*core(), offset, 100, {})), EAGAIN);
  {
    const Pin held = pin_at(offset, unit / 2).value();
    EXPECT_EQ(count(unit).pins(), 1U);
    EXPECT_EQ(count(unit).tracked(), 1U);
    EXPECT_EQ(core()->pages().index(first, setting().unit), page_holding(unit));
    ASSERT_EQ(held.segments().size(), 1U);
    EXPECT_EQ(held.segments()[0].device_offset, offset);
    EXPECT_EQ(held.segments()[0].address, core()->window() + offset);
    EXPECT_EQ(held.length(), unit / 2);
    const Pin again = try_pin(*core(), offset, 100, {}).value();
    EXPECT_EQ(count(unit).pins(), 2U);
  }
  EXPECT_EQ(count(unit).pins(), 0U);
}

TEST_P(RawDevices, APinOfManyUnitsIsOneSegment) {
  const std::uint64_t unit = unit_bytes();
  const Pin held = pin_at(unit / 2, unit, "two units").value();
  ASSERT_EQ(held.segments().size(), 1U);
  EXPECT_EQ(held.length(), unit);
  EXPECT_EQ(count(0).pins(), 1U);
  EXPECT_EQ(count(unit).pins(), 1U);
  EXPECT_EQ(core()->pages().references(), 2U);
  const std::vector<PinInfo> pins = pin_report(*core(), 10);
  ASSERT_EQ(pins.size(), 1U);
  EXPECT_EQ(pins[0].path, core()->name());
  EXPECT_EQ(pins[0].purpose, "two units");
  EXPECT_EQ(pins[0].offset, unit / 2);
}

TEST_P(RawDevices, PopulateBringsEveryUnit) {
  if (setting().unit == kOrder1G) return;  // would take a GiB of memory
  const Shown window(try_map(unit_bytes(), 2 * unit_bytes(), true).value());
  EXPECT_EQ(core()->pages().references(), 2U);
  EXPECT_EQ(test::system_call_reads(window.data() + unit_bytes()), 0);
}

TEST_P(RawDevices, WhatDoesNotFitIsRefused) {
  const std::uint64_t unit = unit_bytes();
  const std::uint64_t size = core()->size();
  const auto crooked = try_map(unit / 2, unit);
  ASSERT_EQ(code_of(crooked), EINVAL);
  EXPECT_THAT(crooked.error().message(), HasSubstr("whole units of"));
  EXPECT_EQ(code_of(try_map(0, unit / 2)), EINVAL);
  EXPECT_EQ(code_of(try_map(0, 0)), EINVAL);
  EXPECT_EQ(code_of(try_map(size, unit)), ENXIO);
  EXPECT_EQ(code_of(try_map(size - unit, 2 * unit)), ENXIO);
  EXPECT_EQ(code_of(pin_at(size - 1, 2)), ENXIO);
  EXPECT_EQ(code_of(pin_at(0, 0)), ENXIO);
  EXPECT_EQ(core()->pages().references(), 0U);
}

TEST_P(RawDevices, SyncReachesTheCarrier) {
  const Shown window = show(0, unit_bytes());
  window.data()[1] = std::byte{1};
  EXPECT_TRUE(core()->sync({PageIndex(0), PageIndex(1)}));
}

TEST(RawDevice, TheUnitFitsTheDevice) {
  std::optional<test::ScratchDirectory> none;
  const auto odd = Core::start(test::make_device(Carriage::memory, 3 * MiB, none), kOrder2M);
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().code(), EINVAL);
  EXPECT_THAT(odd.error().message(), HasSubstr("3 MiB are no multiple of a unit of 2 MiB"));
  test::HugePages pages(1);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages.missing());
  const auto small = Core::start(test::make_device(Carriage::hugetlb, 2 * MiB, none), kOrder4K);
  ASSERT_FALSE(small);
  EXPECT_THAT(small.error().message(), HasSubstr("pages of 2 MiB, larger than a unit of 4 KiB"));
}

TEST(RawDevice, ADeviceForReadingIsNotWritten) {
  test::ScratchDirectory scratch;
  { device::Device::create_file(scratch.file("pool"), {.size = 4 * MiB}).value(); }
  const auto core =
      Core::start(device::Device::open(scratch.file("pool"), device::OpenMode::read_only).value(), kOrder4K).value();
  EXPECT_EQ(map(core, {0, 4096, Access::write}).error().code(), EROFS);
  PinOptions writes;
  writes.access = Access::write;
  EXPECT_EQ(pin(*core, 0, 4096, writes).error().code(), EROFS);
  const Pin held = pin(*core, 0, 4096, {}).value();
  // Once it is tracked, too.
  EXPECT_EQ(pin(*core, 0, 4096, writes).error().code(), EROFS);
  std::byte* const shown = [&] {
    const Shown window(map(core, {0, 8192, Access::read}).value());
    EXPECT_EQ(window.data()[4096], std::byte{0});
    return window.data();
  }();
  EXPECT_NE(shown, nullptr);
}

}  // namespace
}  // namespace holdfast::devdax
