// Goal: through the whole stack, a process that is killed loses nothing that it was told is durable; bytes are flushed
// before the commit that shows them; what nobody syncs is committed after a while; a new pool has the journal that it
// is to have. Method: children killed at random moments; a fault point that sees who flushes; the clock.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <holdfast/filesystem.h>

#include "base/fault_point.h"
#include "filesystem/core.h"
#include "support/crash_copy.h"
#include "support/ext4_volume.h"
#include "support/killed_writer.h"
#include "support/scratch.h"
#include "support/skip.h"

namespace holdfast {
namespace {

using test::bytes_of;
using test::ScratchDirectory;

void make_pool(const std::string& path, const FormatOptions& options) {
  Device device = Device::create(path, 64 * MiB).value();
  format(device, options).value();
}

Filesystem mount(const std::string& path) { return Filesystem::mount(Device::open(path).value()).value(); }

void kill_and_recover(const std::string& parent, int rounds) {
  const ScratchDirectory directory(parent);
  test::KilledWriter writer(directory.path(), 20261128);
  for (int i = 0; i < rounds && !::testing::Test::HasFailure(); ++i) writer.round();
  EXPECT_GT(writer.synced(), 0);
}

TEST(Crash, KilledOnTmpfs) { kill_and_recover(test::tmpfs_parent(), 20); }

TEST(Crash, KilledOnDisk) {
  if (test::disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no directory on a disk");
  kill_and_recover(test::disk_parent(), 10);
}

// The fault is met by whoever flushes first: the one who tells the format of written blocks, not the commit.
TEST(Ordered, BytesAreFlushedBeforeTheCommitThatShowsThem) {
  if (test::disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no directory on a disk");
  const ScratchDirectory directory(test::disk_parent());
  make_pool(directory.file("pool"), {});
  Filesystem fs = mount(directory.file("pool"));
  {
    File file = fs.open("/f", Open::read_write | Open::create).value();
    fs.sync().value();
    file.write(0, bytes_of(1)).value();
    fault_point::arm("device.flush", 1);
  }
  EXPECT_TRUE(fs.sync().has_value());
  fault_point::disarm_all();
}

// The bytes between the old end and the next page may hold anything; they are zeros before the new size is durable.
TEST(Ordered, AFileGrowsOverZeros) {
  if (test::disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no directory on a disk");
  const ScratchDirectory directory(test::disk_parent());
  make_pool(directory.file("pool"), {});
  Filesystem fs = mount(directory.file("pool"));
  File file = fs.open("/f", Open::read_write | Open::create).value();
  file.write(0, bytes_of(1)).value();
  file.sync().value();
  fault_point::arm("device.flush", 1);
  EXPECT_EQ(file.truncate(100'000).error().code(), EIO) << "the zeros are flushed";
  fault_point::disarm_all();
  file.truncate(100'000).value();
}

// What a sync flushes is what the format says, not what is remembered.
TEST(Ordered, ASyncFlushesWhatTheCacheForgot) {
  if (test::disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no directory on a disk");
  const ScratchDirectory directory(test::disk_parent());
  make_pool(directory.file("pool"), {});
  Filesystem fs = mount(directory.file("pool"));
  File file = fs.open("/f", Open::read_write | Open::create).value();
  file.write(0, bytes_of(1)).value();
  file.sync().value();
  file.write(0, bytes_of(8)).value();
  file.sync_data().value();
  file.write(0, bytes_of(15)).value();  // in place: the format has nothing to be told
  fs.core().inodes().for_each([](filesystem::Inode& inode) { inode.extents.forget(); });
  fault_point::arm("device.flush", 1);
  EXPECT_FALSE(file.sync_data().has_value()) << "the blocks are flushed";
  fault_point::disarm_all();
}

TEST(Ordered, WhatNobodySyncsIsCommittedAfterAWhile) {
  const ScratchDirectory directory(test::tmpfs_parent());
  const std::string pool = directory.file("pool");
  make_pool(pool, {.journal = NewJournal::sized, .journal_bytes = 4 * MiB});
  Filesystem fs = mount(pool);
  fs.make_directory("/d").value();
  const std::string copy = directory.file("copy");
  {
    const test::CrashCopy crash("commit_timer.ran", pool, copy);
    for (int i = 0; i < 100 && !crash.taken(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ASSERT_TRUE(crash.taken());
  }
  Filesystem found = mount(copy);
  EXPECT_GT(found.recovery().transactions, 0u);
  EXPECT_TRUE(found.stat("/d").has_value());
}

TEST(Ordered, TheTimerOutlivesARefusedUnmount) {
  const ScratchDirectory directory(test::tmpfs_parent());
  const std::string pool = directory.file("pool");
  make_pool(pool, {.journal = NewJournal::sized, .journal_bytes = 4 * MiB});
  Filesystem fs = mount(pool);
  File file = fs.open("/f", Open::read_write | Open::create).value();
  EXPECT_EQ(fs.unmount().error().code(), EBUSY);
  fs.make_directory("/d").value();
  const std::string copy = directory.file("copy");
  {
    const test::CrashCopy crash("commit_timer.ran", pool, copy);
    for (int i = 0; i < 100 && !crash.taken(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ASSERT_TRUE(crash.taken());
  }
  EXPECT_TRUE(mount(copy).stat("/d").has_value());
}

TEST(NewPool, HasTheJournalThatItIsToHave) {
  const auto journal = [](const std::string& path) { return test::dumpe2fs_number(path, "Total journal blocks"); };
  const ScratchDirectory memory(test::tmpfs_parent());
  make_pool(memory.file("auto"), {});
  EXPECT_EQ(journal(memory.file("auto")), -1);
  make_pool(memory.file("sized"), {.journal = NewJournal::sized, .journal_bytes = 8 * MiB});
  EXPECT_EQ(journal(memory.file("sized")), 2048);
  EXPECT_TRUE(test::e2fsck_clean(memory.file("sized")));
  Device device = Device::create(memory.file("refused"), 64 * MiB).value();
  EXPECT_EQ(format(device, {.journal = NewJournal::sized, .journal_bytes = MiB}).error().code(), EINVAL);
  EXPECT_EQ(format(device, {.journal = NewJournal::sized, .journal_bytes = 40 * MiB}).error().code(), ENOSPC);
  if (test::disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no directory on a disk");
  const ScratchDirectory disk(test::disk_parent());
  make_pool(disk.file("auto"), {});
  EXPECT_EQ(journal(disk.file("auto")), 1024);
  EXPECT_TRUE(test::e2fsck_clean(disk.file("auto")));
  make_pool(disk.file("none"), {.journal = NewJournal::none});
  EXPECT_EQ(journal(disk.file("none")), -1);
}

}  // namespace
}  // namespace holdfast
