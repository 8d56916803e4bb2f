// Goal: what an operation changed before it failed is never committed: the volume stops instead, says why, and is after
// a replay what it was after the last commit. Method: fault points amid the changes of one function, handles that end
// without done(), and a commit that waits for such a handle.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/fault_point.h"
#include "journal_bed.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Extent;
using filesystem::Format;
using filesystem::Initial;

class HalfDone : public testing::Test {
 protected:
  void SetUp() override {
    bed_.mount();
    make_named(*bed_, bed_->root(), "before", FileType::regular, 3);
    bed_->commit().value();
  }
  void TearDown() override { fault_point::disarm_all(); }

  // Nothing may be written any more; what was committed is there after a replay, and nothing else.
  void expect_stopped(const std::string& why) {
    const Status refused = bed_->commit();
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), EROFS);
    EXPECT_NE(refused.error().message().find(why), std::string::npos) << refused.error().message();
    EXPECT_EQ(bed_->begin(kSmall).error().code(), EROFS);
    EXPECT_FALSE(bed_->close(true).has_value());
    bed_.kill();
    static_cast<void>(recover_by_mount(bed_.path()));
    bed_.mount();
    EXPECT_TRUE(bed_->lookup(bed_->root(), "before").value().has_value());
    EXPECT_FALSE(bed_->lookup(bed_->root(), "half").value().has_value());
    bed_.unmount();
    EXPECT_TRUE(test::e2fsck_clean(bed_.path()));
  }

  Attributes new_file() {
    Attributes attributes;
    attributes.permissions = 0644;
    attributes.links = 1;
    return attributes;
  }

  JournalBed bed_{""};
};

TEST_F(HalfDone, AnOperationThatStopsHalfway) {
  const test::MarkCount said("ext4.half_done");
  {
    const auto handle = bed_->begin(kSmall).value();
    const InodeNumber inode = bed_->create_inode(*handle, bed_->root(), new_file()).value();
    bed_->add_name(*handle, bed_->root(), {"half", inode, FileType::regular}).value();
  }
  EXPECT_EQ(said.passings(), 1u);
  expect_stopped("half done");
}

// The reason is what its last step failed with.
TEST_F(HalfDone, AnOperationWhoseSecondStepFails) {
  {
    const auto handle = bed_->begin(kSmall).value();
    const InodeNumber inode = bed_->create_inode(*handle, bed_->root(), new_file()).value();
    bed_->add_name(*handle, bed_->root(), {"half", inode, FileType::regular}).value();
    fault_point::arm("ext4.extent.data", 1);
    std::vector<Extent> added;
    EXPECT_FALSE(bed_->allocate(*handle, inode, {PageIndex(0), PageIndex(1)}, Initial::written, added).has_value());
  }
  expect_stopped("no block for its data");
}

TEST_F(HalfDone, WhatWasTakenBackStopsNothing) {
  {
    const auto handle = bed_->begin(kSmall).value();
    const InodeNumber inode = bed_->create_inode(*handle, bed_->root(), new_file()).value();
    Attributes attributes = bed_->read_inode(inode).value();
    attributes.links = 0;
    bed_->write_inode(*handle, inode, attributes).value();
    bed_->free_inode(*handle, inode).value();
    handle->done();
  }
  // An allocation that fails gives back what it had taken by itself.
  const InodeNumber file = bed_->lookup(bed_->root(), "before").value()->inode;
  for (const char* point : {"ext4.extent.data", "ext4.allocate_data", "ext4.allocate_metadata"}) {
    const auto handle = bed_->begin(kSmall).value();
    fault_point::arm(point, 1, 100);
    std::vector<Extent> added;
    for (std::uint64_t page = 10; page < 20; page += 2) {
      static_cast<void>(
          bed_->allocate(*handle, file, {PageIndex(page), PageIndex(page + 1)}, Initial::unwritten, added));
    }
    fault_point::disarm_all();
    handle->done();
  }
  bed_->commit().value();
  bed_.unmount();
  EXPECT_TRUE(test::e2fsck_clean(bed_.path()));
}

// A directory grows, and the block that it got cannot be looked up: the function fails amid its changes.
TEST_F(HalfDone, AFunctionThatFailsAmidItsChanges) {
  {
    const auto handle = bed_->begin(kSmall).value();
    Attributes attributes = new_file();
    attributes.type = FileType::directory;
    attributes.links = 2;
    const InodeNumber inode = bed_->create_inode(*handle, bed_->root(), attributes).value();
    bed_->add_name(*handle, bed_->root(), {"half", inode, FileType::directory}).value();
    fault_point::arm("ext4.directory.grown", 1);
    EXPECT_EQ(bed_->make_directory(*handle, inode, bed_->root()).error().code(), EIO);
    handle->done();  // which changes nothing any more
  }
  expect_stopped("made to fail");
}

// Either the handle ends before the commit begins, or the commit waits for it: both find the volume stopped.
TEST_F(HalfDone, ACommitThatWaitsForIt) {
  test::MarkCount draining("ext4.draining");
  auto handle = bed_->begin(kSmall).value();
  test::Task committed([this] { return bed_->commit(); });
  ASSERT_TRUE(draining.wait_until(1));
  const InodeNumber inode = bed_->create_inode(*handle, bed_->root(), new_file()).value();
  bed_->add_name(*handle, bed_->root(), {"half", inode, FileType::regular}).value();
  handle.reset();
  EXPECT_EQ(committed.get().error().code(), EROFS);
  expect_stopped("half done");
}

// Refused behind the wait, it counts as no handle: the next commit would wait for that one for ever.
TEST_F(HalfDone, ABeginThatWaitsForACommitThatFails) {
  test::MarkCount draining("ext4.draining");
  auto handle = bed_->begin(kSmall).value();
  test::Task committed([this] { return bed_->commit(); });
  ASSERT_TRUE(draining.wait_until(1));
  test::Task begun([this] { return bed_->begin(kSmall).error().code(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const InodeNumber inode = bed_->create_inode(*handle, bed_->root(), new_file()).value();
  bed_->add_name(*handle, bed_->root(), {"half", inode, FileType::regular}).value();
  handle.reset();
  EXPECT_EQ(begun.get(), EROFS);
  EXPECT_EQ(committed.get().error().code(), EROFS);
  expect_stopped("half done");
}

}  // namespace
}  // namespace holdfast::ext4
