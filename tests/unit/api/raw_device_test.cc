// Goal: RawDevice says what its header says: options, accessors, errors, pins by address, and windows that the file
// functions take as buffers, before and after the device went.
// Method: the public interface alone, on memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "support/pool_fixture.h"
#include "support/touch.h"

namespace holdfast::test {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

RawDevice raw_memory(PageSize unit = PageSize::huge_2m, std::uint64_t size = 8 * MiB) {
  return RawDevice::open(Device::memory({.size = size}).value(), {.unit = unit}).value();
}

TEST(RawDeviceApi, SaysWhatItIs) {
  for (const auto& [unit, bytes] : {std::pair(PageSize::base_4k, 4 * KiB), std::pair(PageSize::huge_2m, 2 * MiB),
                                    std::pair(PageSize::huge_1g, 1 * GiB)}) {
    const RawDevice raw = raw_memory(unit, 1 * GiB);
    EXPECT_EQ(raw.size(), 1 * GiB);
    EXPECT_EQ(raw.unit(), bytes);
    EXPECT_NE(raw.window(), nullptr);
    EXPECT_FALSE(raw.name().empty());
  }
  const auto refused = RawDevice::open(Device::memory({.size = 3 * MiB}).value(), {.unit = PageSize::huge_2m});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), EINVAL);
}

TEST(RawDeviceApi, AWindowIsOfWholeUnits) {
  RawDevice raw = raw_memory();
  EXPECT_EQ(raw.map(0, 4 * KiB).error().code(), EINVAL);
  Window window = raw.map(2 * MiB, 4 * MiB).value();
  EXPECT_EQ(window.offset(), 2 * MiB);
  EXPECT_EQ(window.size(), 4 * MiB);
  EXPECT_TRUE(window.populate(0, 2 * MiB));
  EXPECT_TRUE(window.sync(0, 4 * MiB));
  EXPECT_EQ(window.unmap(0, 4 * KiB).error().code(), EINVAL) << "a part of a unit";
  EXPECT_TRUE(window.unmap(0, 2 * MiB));
  EXPECT_TRUE(dies_of_segmentation(window.data()));
  EXPECT_EQ(raw.pin_address(window.data(), 1).error().code(), EFAULT);
  EXPECT_TRUE(raw.pin_address(window.data() + 2 * MiB, 1));
}

TEST(RawDeviceApi, APinByAddressOutlivesTheWindow) {
  RawDevice raw = raw_memory();
  RawDevice other = raw_memory();
  Pin pin;
  {
    const Window window = raw.map(2 * MiB, 2 * MiB).value();
    pin = raw.pin_address(window.data() + 100, 8, {.purpose = "by address"}).value();
    EXPECT_EQ(other.pin_address(window.data(), 8).error().code(), EXDEV);
    EXPECT_EQ(raw.pin_address(window.data() + 2 * MiB - 1, 2).error().code(), EFAULT);
  }
  EXPECT_EQ(pin.segments()[0].device_offset, 2 * MiB + 100);
  EXPECT_EQ(raw.pins().at(0).purpose, "by address");
  EXPECT_EQ(raw.pins().at(0).path, raw.name());
  EXPECT_TRUE(other.pins().empty());
}

TEST(RawDeviceApi, RemoveNamesTheHolderAndEndsWithIt) {
  RawDevice raw = raw_memory();
  const Window window = raw.map(0, 2 * MiB).value();
  Pin pin = raw.pin(0, 4, {.purpose = "dma", .released_elsewhere = true}).value();
  const Status late = raw.remove({.deadline = milliseconds(10)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ETIMEDOUT);
  EXPECT_THAT(late.error().message(), HasSubstr("\"dma\""));
  std::thread([&pin] { pin.release(); }).join();
  EXPECT_TRUE(raw.remove());
  EXPECT_EQ(raw.window(), nullptr);
  EXPECT_EQ(raw.size(), 8 * MiB);
  EXPECT_EQ(raw.pin(0, 4).error().code(), ENODEV);
  EXPECT_EQ(raw.try_pin(0, 4).error().code(), ENODEV);
  EXPECT_EQ(raw.map(0, 2 * MiB).error().code(), ENODEV);
  EXPECT_EQ(raw.pin_address(window.data(), 1).error().code(), ENODEV);
  EXPECT_TRUE(dies_of_bus_error(window.data()));
}

TEST(RawDeviceApi, WindowsOutliveTheObject) {
  std::optional<RawDevice> raw = raw_memory();
  Window window = raw->map(0, 2 * MiB).value();
  Pin pin = raw->pin(0, 4, {.access = Access::write}).value();
  raw.reset();
  window.data()[1] = std::byte{'w'};
  EXPECT_EQ(pin.segments()[0].address[1], std::byte{'w'});
  EXPECT_TRUE(window.sync(0, 2 * MiB));
}

// Buffers of file functions: read and written as what the window shows, and EFAULT once that is gone.
class RawBuffers : public PoolTest {};

TEST_F(RawBuffers, FilesCopyFromAndToARawWindow) {
  RawDevice raw = raw_memory();
  const Window window = raw.map(0, 2 * MiB).value();
  File file = fs().open("/a", Open::read_write | Open::create).value();
  const std::span<std::byte> buffer = window.bytes().subspan(10, 5000);
  std::memset(raw.window() + 10, 'r', 5000);
  EXPECT_EQ(file.write(0, buffer).value(), 5000U);
  const std::span<std::byte> back = window.bytes().subspan(1 * MiB, 5000);
  EXPECT_EQ(file.read(0, back).value(), 5000U);
  EXPECT_EQ(std::memcmp(raw.window() + 1 * MiB, raw.window() + 10, 5000), 0);
  ASSERT_TRUE(raw.remove());
  EXPECT_EQ(file.write(0, buffer).error().code(), EFAULT);
  EXPECT_EQ(file.read(0, back).error().code(), EFAULT);
  EXPECT_EQ(file.append(buffer).error().code(), EFAULT);
  EXPECT_EQ(fs().pin_address(window.data(), 1).error().code(), EXDEV);
  EXPECT_EQ(file.size(), 5000U);
}

}  // namespace
}  // namespace holdfast::test
