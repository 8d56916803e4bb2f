// Goal: /dev/dax is described as sysfs describes it, in the layouts of old and new kernels, and everything that is not
// a usable dax device is refused with its reason. Method: trees made for the purpose, shaped as the kernel shapes them.
#include "device/devdax_sysfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "base/units.h"
#include "support/scratch.h"

namespace holdfast::device {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class DevdaxSysfs : public testing::Test {
 protected:
  // Devices live below /sys/devices; /sys/dev/char/MAJ:MIN is a link to them.
  fs::path add_device(const std::string& place, const std::string& subsystem = "dax") {
    const fs::path device = root() / "devices" / place;
    fs::create_directories(device);
    fs::create_directories(root() / "bus" / subsystem);
    fs::create_symlink(root() / "bus" / subsystem, device / "subsystem");
    fs::create_directories(root() / "dev" / "char");
    fs::create_symlink(device, root() / "dev" / "char" / "252:3");
    return device;
  }
  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  fs::path root() const { return directory_.path(); }
  Result<DevdaxInfo> read() const { return read_devdax(root().string(), "/dev/dax0.0", 252, 3); }
  void expect_refused(int code, const std::string& reason) const {
    const Result<DevdaxInfo> info = read();
    ASSERT_FALSE(info);
    EXPECT_EQ(info.error().code(), code);
    EXPECT_EQ(info.error().object(), "/dev/dax0.0");
    EXPECT_THAT(info.error().reason(), HasSubstr(reason));
  }

  test::ScratchDirectory directory_;
};

TEST_F(DevdaxSysfs, PersistentDeviceOfANewKernel) {
  const fs::path device = add_device("LNXSYSTM:00/ndbus0/region0/dax0.0/dax0.0");
  write(device / "size", "16909336576\n");
  write(device / "align", "2097152\n");
  const Result<DevdaxInfo> info = read();
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->name, "dax0.0");
  EXPECT_EQ(info->size, 16909336576U);
  EXPECT_EQ(info->alignment, 2 * MiB);
  EXPECT_TRUE(info->persistent);
}

TEST_F(DevdaxSysfs, VolatileDeviceIsNotPersistent) {
  const fs::path device = add_device("platform/hmem.0/dax0.0");
  write(device / "size", "4294967296\n");
  write(device / "align", "1073741824\n");
  const Result<DevdaxInfo> info = read();
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->alignment, GiB);
  EXPECT_FALSE(info->persistent);
}

TEST_F(DevdaxSysfs, OldKernelsSayTheAlignmentOfTheRegion) {
  const fs::path device = add_device("LNXSYSTM:00/ndbus0/region0/dax0.0/dax/dax0.0");
  write(device / "size", "1073741824\n");
  write(device / "dax_region" / "align", "0x1000\n");
  const Result<DevdaxInfo> info = read();
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->alignment, 4 * KiB);
}

TEST_F(DevdaxSysfs, SizeIsRoundedDownToWholeUnits) {
  const fs::path device = add_device("platform/hmem.0/dax0.0");
  write(device / "size", "5242880\n");
  write(device / "align", "2097152\n");
  const Result<DevdaxInfo> info = read();
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->size, 4 * MiB);
}

TEST_F(DevdaxSysfs, UnknownNumbers) { expect_refused(ENODEV, "252:3 is not known to sysfs"); }

TEST_F(DevdaxSysfs, OtherCharacterDevice) {
  add_device("virtual/tty/tty0", "tty");
  expect_refused(ENODEV, "not a dax device");
}

TEST_F(DevdaxSysfs, UsedAsOrdinaryMemory) {
  const fs::path device = add_device("platform/hmem.0/dax0.0");
  fs::create_directories(root() / "bus" / "dax" / "drivers" / "kmem");
  fs::create_symlink(root() / "bus" / "dax" / "drivers" / "kmem", device / "driver");
  write(device / "size", "4294967296\n");
  expect_refused(ENODEV, "ordinary memory");
  EXPECT_THAT(read().error().remedy(), HasSubstr("--mode=devdax dax0.0"));
}

TEST_F(DevdaxSysfs, NoSizeOrNonsense) {
  const fs::path device = add_device("platform/hmem.0/dax0.0");
  write(device / "align", "2097152\n");
  expect_refused(EIO, "no size");
  for (const char* text : {"", "0\n", "-5\n", "many\n", "12 34\n", "99999999999999999999999\n"}) {
    write(device / "size", text);
    expect_refused(EIO, "no size");
  }
}

TEST_F(DevdaxSysfs, AlignmentThatCannotBeMapped) {
  const fs::path device = add_device("platform/hmem.0/dax0.0");
  write(device / "size", "4294967296\n");
  expect_refused(EIO, "no alignment");
  write(device / "align", "16384\n");
  expect_refused(EIO, "16 KiB, not 4 KiB, 2 MiB or 1 GiB");
  write(device / "align", "1073741824\n");
  write(device / "size", "2097152\n");
  expect_refused(EIO, "less than its alignment");
}

}  // namespace
}  // namespace holdfast::device
