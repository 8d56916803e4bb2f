// Goal: a Device of every kind behaves the same: bytes at stable addresses, space, durability calls, refusals.
// Method: the same checks over all kinds that the machine has; children for fork; another program's truncate.
#include "device/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): signal numbers of children
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/fault_point.h"
#include "device/copy.h"
#include "device/unit_probe.h"
#include "support/child.h"
#include "support/hugetlb.h"
#include "support/scratch.h"
#include "support/skip.h"

namespace holdfast::device {
namespace {

using testing::HasSubstr;

struct DeviceCase {
  const char* name;
  Kind kind;
  PageSize page_size;
};

// What the kernel says of the mapping at `begin` under this heading.
std::string smaps_line(const std::byte* begin, const std::string& key) {
  std::ifstream smaps("/proc/self/smaps");
  std::ostringstream start;
  start << std::hex << reinterpret_cast<std::uintptr_t>(begin) << '-';
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.rfind(start.str(), 0) == 0) inside = true;
    if (inside && line.rfind(key + ":", 0) == 0) return line.substr(key.size() + 1);
  }
  return {};
}

// A device of each kind, with what it needs of the machine for as long as the test runs.
class EveryDevice : public testing::TestWithParam<DeviceCase> {
 protected:
  static constexpr std::uint64_t kSize = 8 * MiB;

  void SetUp() override {
    if (GetParam().kind == Kind::memory) {
      if (GetParam().page_size == PageSize::huge_2m) pages_.emplace(4);
      if (pages_ && !pages_->missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages_->missing());
      take(Device::create_memory({kSize, GetParam().page_size, "test"}));
      return;
    }
    const bool disk = GetParam().kind == Kind::disk_file;
    const std::string parent = disk ? test::disk_parent() : test::tmpfs_parent();
    if (parent.empty()) HF_SKIP_CAPABILITY(disk ? "disk" : "tmpfs", "no writable directory of this kind");
    directory_.emplace(parent);
    take(Device::create_file(directory_->file("pool"), {kSize, false}));
  }
  void take(Result<std::unique_ptr<Device>> device) {
    ASSERT_TRUE(device) << device.error().message();
    device_ = std::move(device).value();
  }
  void TearDown() override { fault_point::disarm_all(); }

  std::optional<test::HugePages> pages_;
  std::optional<test::ScratchDirectory> directory_;
  std::unique_ptr<Device> device_;
};

TEST_P(EveryDevice, SaysWhatItIs) {
  const Geometry& geometry = device_->geometry();
  EXPECT_EQ(geometry.kind, GetParam().kind);
  EXPECT_EQ(geometry.size, kSize);
  EXPECT_EQ(device_->pages().bytes(), kSize);
  const std::uint64_t page = GetParam().page_size == PageSize::huge_2m ? 2 * MiB : 4 * KiB;
  EXPECT_EQ(geometry.page_bytes, page);
  EXPECT_EQ(geometry.survives_reboot, GetParam().kind == Kind::disk_file);
  EXPECT_FALSE(device_->read_only());
}

TEST_P(EveryDevice, WindowIsAlignedForHugeTranslations) {
  const auto address = reinterpret_cast<std::uintptr_t>(device_->window());
  EXPECT_EQ(address % (2 * MiB), 0U);
}

TEST_P(EveryDevice, WindowIsLeftOutOfForksAndCoreDumps) {
  const std::string flags = smaps_line(device_->window(), "VmFlags");
  EXPECT_THAT(flags, HasSubstr(" dc ")) << "not copied on fork";
  EXPECT_THAT(flags, HasSubstr(" dd ")) << "not dumped";
  EXPECT_THAT(flags, HasSubstr(" sh ")) << "shared";
}

TEST_P(EveryDevice, HoldsBytesAtEveryPage) {
  ASSERT_TRUE(device_->reserve(Pfn(0), PageCount(2048)));
  for (std::uint64_t page = 0; page < 2048; page += 511) {
    ASSERT_EQ(*device_->at(Pfn(page)), std::byte{0});
    ASSERT_EQ(device::copy(device_->at(Pfn(page)), &page, sizeof page), CopyOutcome::done);
  }
  for (std::uint64_t page = 0; page < 2048; page += 511) {
    std::uint64_t found = 0;
    ASSERT_EQ(device::copy(&found, device_->at(page * kPageBytes), sizeof found), CopyOutcome::done);
    ASSERT_EQ(found, page);
  }
}

TEST_P(EveryDevice, GiveBackMakesZeros) {
  ASSERT_TRUE(device_->reserve(Pfn(0), PageCount(1024)));
  *device_->at(Pfn(0)) = std::byte{1};
  *device_->at(Pfn(1023)) = std::byte{1};
  ASSERT_TRUE(device_->give_back(Pfn(512), PageCount(512)));
  ASSERT_TRUE(device_->reserve(Pfn(512), PageCount(512)));
  EXPECT_EQ(*device_->at(Pfn(0)), std::byte{1});
  EXPECT_EQ(*device_->at(Pfn(1023)), std::byte{0});
}

TEST_P(EveryDevice, FlushAndFence) {
  ASSERT_TRUE(device_->reserve(Pfn(0), PageCount(10)));
  *device_->at(Pfn(3)) = std::byte{1};
  EXPECT_TRUE(device_->flush(3 * kPageBytes + 5, 100));
  EXPECT_TRUE(device_->flush(0, 0));
  EXPECT_TRUE(device_->fence());
  EXPECT_TRUE(device_->fence());
}

TEST_P(EveryDevice, FaultPointsFailOnce) {
  fault_point::arm("device.reserve", 1);
  fault_point::arm("device.flush", 1);
  EXPECT_EQ(device_->reserve(Pfn(0), PageCount(1)).error().code(), ENOSPC);
  EXPECT_TRUE(device_->reserve(Pfn(0), PageCount(1)));
  EXPECT_EQ(device_->flush(0, 1).error().code(), EIO);
  EXPECT_TRUE(device_->flush(0, 1));
}

TEST_P(EveryDevice, ARangeOutsideIsAMistakeOfTheCaller) {
  GTEST_FLAG_SET(death_test_style, "fast");
  EXPECT_DEATH(static_cast<void>(device_->reserve(Pfn(device_->pages().raw()), PageCount(1))), "is not inside");
  EXPECT_DEATH(static_cast<void>(device_->flush(1, ~std::uint64_t{0})), "is not inside");
}

TEST_P(EveryDevice, AForkedChildHasNoWindow) {
  ASSERT_TRUE(device_->reserve(Pfn(0), PageCount(1)));
  *device_->at(Pfn(0)) = std::byte{1};
  const test::ChildEnd end = test::run_in_child([this]() -> std::string {
    signal(SIGSEGV, SIG_DFL);  // a sanitizer would report and exit
    return *const_cast<volatile std::byte*>(device_->window()) == std::byte{1} ? "the child sees the device" : "";
  });
  EXPECT_EQ(end.signal, SIGSEGV) << end.message;
}

TEST_P(EveryDevice, InAForkedChildTheObjectIsInert) {
  ASSERT_TRUE(device_->reserve(Pfn(0), PageCount(512)));
  *device_->at(Pfn(0)) = std::byte{1};
  const test::ChildEnd end = test::run_in_child([this]() -> std::string {
    const Status reserved = device_->reserve(Pfn(512), PageCount(1));
    if (reserved || reserved.error().code() != ECHILD) return "reserve is not ECHILD";
    if (device_->give_back(Pfn(0), PageCount(512))) return "the child gave the parent's memory back";
    if (GetParam().kind == Kind::disk_file && device_->fence()) return "the child fenced";
    device_.reset();
    return {};
  });
  EXPECT_EQ(end.status, 0) << end.message << " signal " << end.signal;
  EXPECT_EQ(*device_->at(Pfn(0)), std::byte{1});
  if (!directory_) return;
  const auto second = Device::open(directory_->file("pool"), OpenMode::read_only);
  ASSERT_FALSE(second) << "the child took the parent's lock with it";
  EXPECT_EQ(second.error().code(), EBUSY);
}

TEST_P(EveryDevice, IsClosedWithItsLock) {
  if (!directory_) return;
  test::Child lingering([](test::Child& self) -> std::string {
    self.ready_and_wait();
    return {};
  });
  ASSERT_TRUE(lingering.wait_until_ready());
  const std::string path = device_->name();
  device_.reset();
  EXPECT_TRUE(Device::open(path, OpenMode::read_write)) << "although a child still has the descriptor";
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryDevice,
                         testing::Values(DeviceCase{"memory", Kind::memory, PageSize::base_4k},
                                         DeviceCase{"hugetlb", Kind::memory, PageSize::huge_2m},
                                         DeviceCase{"tmpfs", Kind::tmpfs_file, PageSize::base_4k},
                                         DeviceCase{"disk", Kind::disk_file, PageSize::base_4k}),
                         [](const auto& instance) { return instance.param.name; });

// One test for all, because such a page is dear to have.
TEST(Device, APageOfOneGiB) {
  const test::HugePages pages(1, GiB);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb-1g", pages.missing());
  const std::uint64_t free = pages.available();
  auto device = Device::create_memory({1, PageSize::huge_1g, "giant"});
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_EQ((*device)->geometry().page_bytes, GiB);
  EXPECT_EQ((*device)->geometry().size, GiB);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>((*device)->window()) % GiB, 0U);
  EXPECT_EQ(pages.available(), free - 1) << "it is promised";
  ASSERT_TRUE((*device)->reserve(Pfn(262143), PageCount(1)));
  *(*device)->at(GiB - 1) = std::byte{1};
  EXPECT_TRUE((*device)->give_back(Pfn(1), PageCount(262143))) << "less than a page: nothing to do";
  EXPECT_EQ(*(*device)->at(GiB - 1), std::byte{1});
  EXPECT_TRUE((*device)->make_unit(Pfn(0))) << "it is one";
}

TEST(Device, ALargeDeviceIsAlignedForUnitsOfOneGiB) {
  auto device = Device::create_memory({3 * GiB, PageSize::base_4k, "large"});
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>((*device)->window()) % GiB, 0U);
}

TEST(Device, AFileCutShortByAnotherProgramIsABusErrorOutcome) {
  const test::ScratchDirectory directory;
  const std::string path = directory.file("pool");
  auto device = Device::create_file(path, {4 * MiB, false});
  ASSERT_TRUE(device) << device.error().message();
  ASSERT_TRUE((*device)->reserve(Pfn(0), PageCount(1024)));
  std::string bytes(64 * KiB, 'x');
  ASSERT_EQ(device::copy((*device)->at(Pfn(512)), bytes.data(), bytes.size()), CopyOutcome::done);
  ASSERT_EQ(truncate(path.c_str(), MiB), 0);
  EXPECT_EQ(device::copy(bytes.data(), (*device)->at(Pfn(512)), bytes.size()), CopyOutcome::bus_error);
  EXPECT_EQ(device::copy((*device)->at(Pfn(512)), bytes.data(), bytes.size()), CopyOutcome::bus_error);
  EXPECT_EQ(device::zero((*device)->at(Pfn(255)), 2 * kPageBytes), CopyOutcome::bus_error) << "half of it is there";
  EXPECT_EQ(device::zero((*device)->at(Pfn(0)), kPageBytes), CopyOutcome::done);
}

TEST(Device, ReadOnlyRefusesEveryChange) {
  const test::ScratchDirectory directory;
  const std::string path = directory.file("pool");
  {
    auto writer = Device::create_file(path, {MiB, false});
    ASSERT_TRUE(writer);
    ASSERT_TRUE((*writer)->reserve(Pfn(0), PageCount(1)));
    *(*writer)->at(Pfn(0)) = std::byte{77};
  }
  auto reader = Device::open(path, OpenMode::read_only);
  auto second = Device::open(path, OpenMode::read_only);
  ASSERT_TRUE(reader && second);
  EXPECT_TRUE((*reader)->read_only());
  EXPECT_EQ(*(*reader)->at(Pfn(0)), std::byte{77});
  EXPECT_EQ((*reader)->reserve(Pfn(0), PageCount(1)).error().code(), EROFS);
  EXPECT_EQ((*reader)->make_unit(Pfn(0)).error().code(), EROFS);
  EXPECT_FALSE((*reader)->give_back(Pfn(0), PageCount(1)));
  EXPECT_TRUE((*reader)->fence());
  GTEST_FLAG_SET(death_test_style, "fast");
  EXPECT_EXIT(
      {
        signal(SIGSEGV, SIG_DFL);
        *const_cast<volatile std::byte*>((*reader)->window()) = std::byte{1};
      },
      testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EQ(Device::open(path, OpenMode::read_write).error().code(), EBUSY);
}

TEST(MakeUnit, TheWindowTranslatesItWithOneEntryAndKeepsItsContents) {
  auto device = Device::create_memory({8 * MiB, PageSize::base_4k, "units"});
  ASSERT_TRUE(device);
  ASSERT_TRUE((*device)->reserve(Pfn(512), PageCount(1)));
  *(*device)->at(Pfn(700)) = std::byte{5};
  const Status made = (*device)->make_unit(Pfn(512));
  if (!made && made.error().code() == EOPNOTSUPP) HF_SKIP_CAPABILITY("collapse", made.error().reason());
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(*(*device)->at(Pfn(700)), std::byte{5});
  EXPECT_EQ(std::stoull(smaps_line((*device)->window(), "ShmemPmdMapped")), 2 * KiB) << "in KiB";
  EXPECT_TRUE((*device)->make_unit(Pfn(512))) << "a second time";
}

// What somebody else made of the memory is seen: a pool file may have been open before.
TEST(MakeUnit, OfAFormerLifeIsKnown) {
  const test::ScratchDirectory directory(test::tmpfs_parent());
  const std::string path = directory.file("pool");
  {
    auto device = Device::create_file(path, {8 * MiB, false});
    ASSERT_TRUE(device) << device.error().message();
    ASSERT_TRUE((*device)->reserve(Pfn(0), PageCount(2048)));
    if ((*device)->geometry().makes_units) HF_SKIP_CAPABILITY("small-tmpfs", "this tmpfs makes units by itself");
    EXPECT_FALSE((*device)->is_unit(Pfn(512)));
    const Status made = (*device)->make_unit(Pfn(512));
    if (!made) HF_SKIP_CAPABILITY("collapse", made.error().reason());
    EXPECT_TRUE((*device)->is_unit(Pfn(512)));
  }
  auto writer = Device::open(path, OpenMode::read_write);
  ASSERT_TRUE(writer) << writer.error().message();
  if (!is_translated_as_unit((*writer)->at(Pfn(512)))) HF_SKIP_CAPABILITY("pagemap-scan", "the kernel does not say");
  EXPECT_TRUE((*writer)->is_unit(Pfn(512)));
  EXPECT_FALSE((*writer)->is_unit(Pfn(1024)));
  EXPECT_TRUE((*writer)->give_back(Pfn(600), PageCount(1)));
  ASSERT_TRUE((*writer)->reserve(Pfn(600), PageCount(1)));
  EXPECT_FALSE((*writer)->is_unit(Pfn(512))) << "it was split";
}

TEST(MakeUnit, RefusesWhatIsNotAUnit) {
  auto device = Device::create_memory({3 * MiB, PageSize::base_4k, "units"});
  ASSERT_TRUE(device);
  EXPECT_EQ((*device)->make_unit(Pfn(1)).error().code(), EINVAL);
  EXPECT_EQ((*device)->make_unit(Pfn(512)).error().code(), EINVAL) << "only half of it is inside";
  EXPECT_EQ((*device)->make_unit(Pfn(1024)).error().code(), EINVAL);
}

}  // namespace
}  // namespace holdfast::device
