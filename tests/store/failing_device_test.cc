// Goal: a device that fails while a pool is in use makes it read-only, with a reason, and takes nothing of what was
// synced; a host without space for the pool's file refuses by name. Method: the n-th wait for the device fails, for
// every n, and all after it; a pool file on a small tmpfs that is full.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/fault_point.h"
#include "ext4/journal_area.h"
#include "support/pool_fixture.h"
#include "support/skip.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

// What a program does; false as soon as something fails.
bool work(Filesystem& fs, std::vector<int>& codes) {
  const auto good = [&codes](const auto& result) {
    if (!result) codes.push_back(result.error().code());
    return result.has_value();
  };
  for (int i = 0; i < 6; ++i) {
    const std::string name = "/new" + std::to_string(i);
    auto file = fs.open(name, Open::read_write | Open::create);
    if (!good(file)) return false;
    if (!good(file->write(0, bytes(50'000, 'n')))) return false;
    if (!good(file->sync())) return false;
    if (!good(file->truncate(9'000))) return false;
    if (!good(fs.rename(name, name + "x"))) return false;
    if (!good(fs.make_directory("/d" + std::to_string(i)))) return false;
    if (!good(fs.sync())) return false;
    if (i % 2 == 1 && !good(fs.unlink(name + "x"))) return false;
  }
  return true;
}

void expect_synced(Filesystem& fs) {
  File file = fs.open("/synced", Open::read).value();
  std::vector<std::byte> found(300'000);
  EXPECT_EQ(file.read(0, found).value(), found.size());
  EXPECT_TRUE(found == bytes(300'000, 's'));
}

void fail_every_wait(const std::string& parent, const char* point) {
  const test::ScratchDirectory directory(parent);
  const std::string pool = directory.file("pool");
  unsigned failures = 0;
  for (unsigned n = 1;; ++n) {
    ASSERT_LT(n, 200u);
    {
      Device device = Device::create(pool, 32 * MiB, true).value();
      format(device, {.journal = NewJournal::sized, .journal_bytes = 4 * MiB}).value();
    }
    bool finished = false;
    {
      Filesystem fs = Filesystem::mount(Device::open(pool).value()).value();
      File file = fs.open("/synced", Open::read_write | Open::create).value();
      file.write(0, bytes(300'000, 's')).value();
      file.sync().value();
      fault_point::arm(point, n, 1'000'000);
      std::vector<int> codes;
      finished = work(fs, codes);
      if (!finished) {
        ++failures;
        EXPECT_TRUE(codes.back() == EIO || codes.back() == EROFS) << n << ": " << codes.back();
        // What comes next is refused, with the first failure as the reason; what is there can be read.
        fault_point::disarm_all();
        static_cast<void>(fs.sync());
        const auto refused = fs.open("/refused", Open::read_write | Open::create);
        if (!refused) {
          EXPECT_EQ(code_of(refused), EROFS) << n;
          EXPECT_NE(refused.error().message().find("earlier failure"), std::string::npos) << refused.error().message();
        } else {
          ADD_FAILURE() << n << ": a new file after a failure";
        }
        expect_synced(fs);
      }
      fault_point::disarm_all();
    }
    {
      Filesystem fs = Filesystem::mount(Device::open(pool).value()).value();
      expect_synced(fs);
      EXPECT_FALSE(fs.stat("/refused").has_value());
      fs.unmount({.deadline = std::chrono::seconds(5)}).value();
    }
    EXPECT_TRUE(test::e2fsck_clean(pool)) << n;
    if (finished) break;
  }
  EXPECT_GT(failures, 10u);
}

TEST(FailingDevice, EveryWaitInMemory) { fail_every_wait(test::tmpfs_parent(), "device.fence"); }

TEST(FailingDevice, EveryWaitOnDisk) {
  if (test::disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no directory on a disk");
  fail_every_wait(test::disk_parent(), "write_back.write");
}

// A tmpfs of its own, smaller than the pool's file says it is.
class FullHost : public testing::Test {
 protected:
  void SetUp() override {
    if (mount("none", directory_.path().c_str(), "tmpfs", 0, "size=12m") != 0) {
      HF_SKIP_CAPABILITY("mount", "no tmpfs can be mounted here");
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (!mounted_) return;
    EXPECT_EQ(umount(directory_.path().c_str()), 0);
  }

  test::ScratchDirectory directory_{test::disk_parent().empty() ? test::tmpfs_parent() : test::disk_parent()};
  bool mounted_ = false;
};

TEST_F(FullHost, IsSaidAsSuchAndStopsNobodyForGood) {
  const std::string pool = directory_.path() + "/pool";
  {
    Device device = Device::create(pool, 64 * MiB).value();
    format(device, {.journal = NewJournal::sized, .journal_bytes = 4 * MiB}).value();
  }
  {
    Filesystem fs = Filesystem::mount(Device::open(pool).value()).value();
    {
      File file = fs.open("/file", Open::read_write | Open::create).value();
      std::uint64_t at = 0;
      Result<std::size_t> done = file.write(at, bytes(256 * KiB, 'f'));
      for (; done; done = file.write(at, bytes(256 * KiB, 'f'))) at += *done;
      EXPECT_EQ(code_of(done), ENOSPC) << done.error().message();
      EXPECT_GT(at, MiB);
      EXPECT_LT(at, 12 * MiB);
      // In place there is memory for all that was written.
      file.write(0, bytes(256 * KiB, 'g')).value();
      file.sync().value();
    }
    // Names find no memory for their blocks either, or find some; whatever is said holds.
    for (int i = 0; i < 300; ++i) {
      const Status made = fs.make_directory("/d" + std::to_string(i));
      if (!made) {
        EXPECT_EQ(code_of(made), ENOSPC) << made.error().message();
        break;
      }
    }
    fs.unlink("/file").value();
    fs.unmount({.deadline = std::chrono::seconds(5)}).value();
  }
  EXPECT_TRUE(test::e2fsck_clean(pool));
  Filesystem fs = Filesystem::mount(Device::open(pool).value()).value();
  fs.make_directory("/again").value();
}

// A pool file with holes on a host that has nothing left: a store into a hole would be a bus error.
TEST_F(FullHost, AMountThatFindsNoMemoryForTheJournalSaysSo) {
  const std::string pool = directory_.path() + "/pool";
  {
    Device device = Device::create(pool, 64 * MiB).value();
    format(device, {.journal = NewJournal::sized, .journal_bytes = 4 * MiB}).value();
  }
  // Something else takes what is left; the log's blocks, which mkfs leaves as they are, have none.
  {
    const auto device = device::Device::open(pool, device::OpenMode::read_write).value();
    const ext2_super_block super = ext4::read_superblock(*device).value().super;
    const auto geometry = ext4::check_geometry(super, *device).value();
    const std::uint64_t log = Pfn(ext4::JournalArea::find(*device, super, geometry).value().at(1)).bytes();
    const std::string punch = fmt::format("fallocate -p -o {} -l 512K '{}'", log, pool);
    ASSERT_EQ(test::run_program(punch).status, 0);
  }
  static_cast<void>(test::run_program("dd if=/dev/zero of='" + directory_.path() + "/other' bs=4k"));
  const auto mounted = Filesystem::mount(Device::open(pool).value());
  ASSERT_FALSE(mounted.has_value());
  EXPECT_EQ(code_of(mounted), ENOSPC) << mounted.error().message();
}

}  // namespace
}  // namespace holdfast
