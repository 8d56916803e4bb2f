// Goal: drained() runs exactly once, when creator and units have all let go, whoever is last, and nothing is taken
// after close. Method: each order of letting go, and threads that take and give back while the creator leaves.
#include "pagemap/device_references.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace holdfast::pagemap {
namespace {

struct Keeper final : DeviceKeeper {
  void drained() noexcept override { times.fetch_add(1); }
  std::atomic<int> times{0};
};

TEST(DeviceReferences, TheCreatorAloneDrains) {
  Keeper keeper;
  DeviceReferences device(&keeper);
  EXPECT_EQ(device.units(), 0U);
  device.close();
  EXPECT_EQ(keeper.times.load(), 0);
  device.put_creator();
  EXPECT_EQ(keeper.times.load(), 1);
}

TEST(DeviceReferences, TheLastUnitDrainsLongAfterClose) {
  Keeper keeper;
  DeviceReferences device(&keeper);
  ASSERT_TRUE(device.try_get());
  ASSERT_TRUE(device.try_get());
  EXPECT_EQ(device.units(), 2U);
  device.close();
  device.put_creator();
  device.put();
  EXPECT_EQ(device.units(), 1U);
  EXPECT_EQ(keeper.times.load(), 0);
  device.put();
  EXPECT_EQ(keeper.times.load(), 1);
}

TEST(DeviceReferences, NothingIsTakenAfterClose) {
  Keeper keeper;
  DeviceReferences device(&keeper);
  ASSERT_TRUE(device.try_get());
  device.close();
  EXPECT_TRUE(device.closed());
  EXPECT_FALSE(device.try_get());
  device.put();
  EXPECT_EQ(keeper.times.load(), 0) << "the creator holds it";
  device.put_creator();
  EXPECT_EQ(keeper.times.load(), 1);
  EXPECT_FALSE(device.try_get());
}

TEST(DeviceReferences, ADrainedDeviceIsNotRevivedThoughNobodyClosedIt) {
  Keeper keeper;
  DeviceReferences device(&keeper);
  device.put_creator();
  EXPECT_EQ(keeper.times.load(), 1);
  EXPECT_FALSE(device.try_get());
}

// The keeper frees the references: AddressSanitizer sees a put that touches them afterwards.
struct FreeingKeeper final : DeviceKeeper {
  void drained() noexcept override {
    times.fetch_add(1);
    delete device;
  }
  DeviceReferences* device = nullptr;
  std::atomic<int> times{0};
};

TEST(DeviceReferences, DrainExactlyOnceWhoeverIsLast) {
  for (int round = 0; round < 300; ++round) {
    FreeingKeeper keeper;
    auto* const device = new DeviceReferences(&keeper);
    keeper.device = device;
    ASSERT_TRUE(device->try_get());
    std::thread holder([device] {
      // A unit that lives across the creator's end, and others that come and go while it does.
      for (int i = 0; i < 3; ++i) {
        if (device->try_get()) device->put();
      }
      device->put();
    });
    device->close();
    device->put_creator();
    holder.join();
    ASSERT_EQ(keeper.times.load(), 1);
  }
}

}  // namespace
}  // namespace holdfast::pagemap
