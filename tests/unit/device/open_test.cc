// Goal: everything that can be wrong with a path, a size or a machine is an error that says what and what to do; a huge
// sparse device opens at once and touches nothing.
// Method: each mistake made for real; limits lowered in children.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <limits>

#include "base/clock.h"
#include "base/fault_point.h"
#include "device/carrier.h"
#include "device/device.h"
#include "support/child.h"
#include "support/hugetlb.h"
#include "support/scratch.h"
#include "support/skip.h"

namespace holdfast::device {
namespace {

using testing::HasSubstr;

class Open : public testing::Test {
 protected:
  void make_file(std::uint64_t size) const {
    std::ofstream file(path_);
    ASSERT_EQ(truncate(path_.c_str(), static_cast<off_t>(size)), 0);
  }
  static void expect_error(const Result<std::unique_ptr<Device>>& device, int code, const std::string& object,
                           const std::string& words) {
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().code(), code) << device.error().message();
    EXPECT_EQ(device.error().object(), object);
    EXPECT_THAT(device.error().message(), HasSubstr(words));
    EXPECT_FALSE(device.error().remedy().empty()) << device.error().message();
  }
  void expect_refused(int code, const std::string& words) const {
    for (const OpenMode mode : {OpenMode::read_only, OpenMode::read_write}) {
      expect_error(Device::open(path_, mode), code, path_, words);
    }
  }

  test::ScratchDirectory directory_;
  const std::string path_ = directory_.file("pool");
};

TEST_F(Open, Missing) { expect_refused(ENOENT, "does not exist"); }

TEST_F(Open, Directory) {
  ASSERT_EQ(mkdir(path_.c_str(), 0700), 0);
  expect_refused(EINVAL, "a directory");
  expect_error(Device::create_file(path_, {MiB, true}), EINVAL, path_, "a directory");
}

TEST_F(Open, AFifoIsNotWaitedFor) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  expect_refused(EINVAL, "a special file");
}

TEST_F(Open, CharacterDeviceThatIsNotDax) {
  expect_error(Device::open("/dev/null", OpenMode::read_only), ENODEV, "/dev/null", "not a dax device");
  expect_error(Device::open("/dev/zero", OpenMode::read_only), ENODEV, "/dev/zero", "not a dax device");
}

TEST_F(Open, SizeZero) {
  make_file(0);
  expect_refused(EINVAL, "size is 0");
}

TEST_F(Open, SizeNotInPages) {
  make_file(MiB + 1);
  expect_refused(EINVAL, "not a multiple of 4 KiB");
  EXPECT_THAT(Device::open(path_, OpenMode::read_only).error().remedy(), HasSubstr("truncate -s 1052672"));
}

TEST_F(Open, TooLarge) {
  expect_error(Device::create_file(path_, {kMaxDeviceBytes + 1, false}), EFBIG, path_, "largest device is");
  expect_error(Device::create_memory({std::numeric_limits<std::uint64_t>::max(), PageSize::base_4k, "m"}), EFBIG, "m",
               "largest device is");
  EXPECT_NE(access(path_.c_str(), F_OK), 0) << "the file that could not be made is left behind";
}

TEST_F(Open, CreateOfNothing) {
  expect_error(Device::create_file(path_, {}), EINVAL, path_, "size 0");
  expect_error(Device::create_memory({}), EINVAL, "holdfast", "size 0");
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
}

TEST_F(Open, NoPermission) {
  make_file(MiB);
  ASSERT_EQ(chmod(path_.c_str(), 0), 0);
  ASSERT_EQ(chmod(directory_.path().c_str(), 0755), 0);
  const test::ChildEnd end = test::run_in_child([this]() -> std::string {
    if (geteuid() == 0 && setuid(65534) != 0) return "setuid";
    const auto device = Device::open(path_, OpenMode::read_only);
    if (device) return "opened";
    return device.error().code() == EACCES && !device.error().remedy().empty() ? "" : device.error().message();
  });
  EXPECT_EQ(end.status, 0) << end.message;
}

TEST_F(Open, CreateRefusesWhatExistsUnlessItMayReplace) {
  {
    auto first = Device::create_file(path_, {MiB, false});
    ASSERT_TRUE(first);
    ASSERT_TRUE((*first)->reserve(Pfn(0), PageCount(1)));
    *(*first)->at(Pfn(0)) = std::byte{1};
    expect_error(Device::create_file(path_, {MiB, false}), EEXIST, path_, "exists already");
    expect_error(Device::create_file(path_, {MiB, true}), EBUSY, path_, "in use by pid");
    EXPECT_EQ(*(*first)->at(Pfn(0)), std::byte{1}) << "a file in use was cut";
  }
  auto second = Device::create_file(path_, {2 * MiB + 1, true});
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ((*second)->geometry().size, 2 * MiB + 4 * KiB) << "rounded up to pages";
  EXPECT_EQ(*(*second)->at(Pfn(0)), std::byte{0});
}

TEST_F(Open, LimitOnFileSizesIsAnErrorAndNotASignal) {
  const test::ChildEnd end = test::run_in_child([this]() -> std::string {
    const rlimit limit{MiB, MiB};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return "setrlimit";
    for (const auto& device :
         {Device::create_file(path_, {2 * MiB, false}), Device::create_memory({2 * MiB, PageSize::base_4k, "m"})}) {
      if (device) return "opened";
      if (device.error().code() != EFBIG || device.error().remedy().find("ulimit -f") == std::string::npos) {
        return device.error().message();
      }
    }
    return access(path_.c_str(), F_OK) == 0 ? "the file is left behind" : "";
  });
  EXPECT_TRUE(end.exited && end.status == 0) << end.message << " signal " << end.signal;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they need the address space themselves
TEST_F(Open, NoAddressSpace) {
  make_file(64 * GiB);
  const test::ChildEnd end = test::run_in_child([this]() -> std::string {
    const rlimit limit{8 * GiB, 8 * GiB};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return "setrlimit";
    const auto device = Device::open(path_, OpenMode::read_only);
    if (device) return "opened";
    return device.error().code() == ENOMEM && !device.error().remedy().empty() ? "" : device.error().message();
  });
  EXPECT_TRUE(end.exited && end.status == 0) << end.message << " signal " << end.signal;
}
#endif

TEST_F(Open, AFailedMapLeavesNothingBehind) {
  fault_point::arm("device.map", 1);
  expect_error(Device::create_file(path_, {MiB, false}), ENOMEM, path_, "cannot map 1 MiB");
  fault_point::disarm_all();
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  EXPECT_TRUE(Device::create_file(path_, {MiB, false})) << "the lock went with it";
}

TEST_F(Open, MissingHugePagesAreNamed) {
  const test::HugePages pages(0);  // nobody raises the pool meanwhile
  const auto device = Device::create_memory({4 * TiB, PageSize::huge_2m, "huge"});
  ASSERT_FALSE(device);
  if (device.error().code() == ENOTSUP) HF_SKIP_CAPABILITY("hugetlb", device.error().reason());
  expect_error(device, ENOMEM, "huge", "2097152 huge pages of 2 MiB are needed");
  EXPECT_THAT(device.error().remedy(), HasSubstr("> /proc/sys/vm/nr_hugepages"));
}

TEST_F(Open, AHugetlbFileIsRecognised) {
  const test::HugePages pages(2);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages.missing());
  const int fd = memfd_create("pages", MFD_HUGETLB);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(ftruncate(fd, 4 * MiB), 0);
  auto device = Device::open(fmt::format("/proc/self/fd/{}", fd), OpenMode::read_write);
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_EQ((*device)->geometry().kind, Kind::hugetlb_file);
  EXPECT_EQ((*device)->geometry().page_bytes, 2 * MiB);
  device->reset();
  close(fd);
}

TEST_F(Open, AFileIsMadeOnHugetlbfs) {
  const test::HugePages pages(2);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages.missing());
  std::string unavailable;
  const test::ChildEnd end = test::run_with_private_mounts(
      [this]() -> std::string {
        if (mount("huge", directory_.path().c_str(), "hugetlbfs", 0, "pagesize=2M") != 0) return "no hugetlbfs";
        auto device = Device::create_file(path_, {3 * MiB, false});
        if (!device) return device.error().message();
        if ((*device)->geometry().kind != Kind::hugetlb_file) return "wrong kind";
        if ((*device)->geometry().size != 4 * MiB) return "not rounded up to huge pages";
        if (!(*device)->reserve(Pfn(0), PageCount(1))) return "not reserved";
        *(*device)->at(Pfn(511)) = std::byte{1};
        device->reset();
        auto again = Device::open(path_, OpenMode::read_only);
        if (!again) return again.error().message();
        return *(*again)->at(Pfn(511)) == std::byte{1} ? "" : "contents are lost";
      },
      unavailable);
  if (!unavailable.empty() || end.message == "no hugetlbfs") HF_SKIP_CAPABILITY("mount", unavailable + end.message);
  EXPECT_TRUE(end.exited && end.status == 0) << end.message << " signal " << end.signal;
}

TEST_F(Open, MemorysSizeIsSealed) {
  auto device = Device::create_memory({MiB, PageSize::base_4k, "m"});
  ASSERT_TRUE(device);
  EXPECT_NE(ftruncate((*device)->fd(), 0), 0);
  EXPECT_EQ(errno, EPERM);
}

TEST_F(Open, DevdaxOpensReadOnlyWhereThereIsOne) {
  if (access("/dev/dax0.0", R_OK) != 0) HF_SKIP_CAPABILITY("dax", "no /dev/dax0.0 that this user may read");
  const auto device = Device::open("/dev/dax0.0", OpenMode::read_only);
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_EQ((*device)->geometry().kind, Kind::devdax);
}

std::uint64_t minor_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_minflt);
}

// Opens a sparse 256 GiB file; the least time of several, because the machine is shared.
void expect_cheap_open(const std::string& parent) {
  const test::ScratchDirectory directory(parent);
  const std::string path = directory.file("pool");
  { ASSERT_TRUE(Device::create_file(path, {256 * GiB, false})); }
  Nanoseconds best = Nanoseconds::max();
  std::uint64_t fewest_faults = std::numeric_limits<std::uint64_t>::max();
  for (int round = 0; round < 9; ++round) {
    const std::uint64_t faults = minor_faults();
    const Nanoseconds start = monotonic_now();
    const auto device = Device::open(path, OpenMode::read_write);
    best = std::min(best, monotonic_now() - start);
    fewest_faults = std::min(fewest_faults, minor_faults() - faults);
    ASSERT_TRUE(device) << device.error().message();
  }
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_LT(status.st_blocks, 64) << "opening allocated space";
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(best, std::chrono::microseconds(500));
  EXPECT_LT(fewest_faults, 32U) << "opening touched memory";
#endif
}

TEST(OpenSparse, AHugeHoleCostsNothingOnTmpfs) {
  if (test::tmpfs_parent().empty()) HF_SKIP_CAPABILITY("tmpfs", "no writable directory on tmpfs");
  expect_cheap_open(test::tmpfs_parent());
}

TEST(OpenSparse, AHugeHoleCostsNothingOnDisk) {
  if (test::disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no writable directory on a disk file system");
  expect_cheap_open(test::disk_parent());
}

}  // namespace
}  // namespace holdfast::device
