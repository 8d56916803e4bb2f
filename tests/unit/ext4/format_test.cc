// Goal: handles and commits keep their order under threads, a write error stops all writing, and mounting costs nothing
// for what a pool holds. Method: threads that create and remove while others commit, each half of the race stopped at
// its mark; fault points; reads counted over a mount of a large pool.
#include "ext4/format.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/fault_point.h"
#include "base/mark.h"
#include "ext4/ext4.h"
#include "support/ext4_volume.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Extent;
using filesystem::Format;
using filesystem::Initial;
using filesystem::Reservation;
using test::Ext4Image;

constexpr Reservation kAny{.inodes = 2, .names = 2, .extents = 8, .attribute_blocks = 1, .takes_space = true};
constexpr Reservation kFreeing{.inodes = 2, .names = 1, .extents = 8, .attribute_blocks = 0, .takes_space = false};

Attributes plain_file() {
  Attributes attributes;
  attributes.permissions = 0600;
  attributes.links = 1;
  attributes.accessed = attributes.modified = attributes.changed = attributes.created = file_time_now();
  return attributes;
}

class Mounted {
 public:
  explicit Mounted(std::uint64_t bytes = 64 * MiB) : image_(bytes), device_(image_.open()) {
    make_filesystem(*device_, {}).value();
    format_ = mount(*device_, {}).value();
  }
  Format* operator->() { return format_.get(); }
  Format& operator*() { return *format_; }
  void expect_clean() {
    format_->close(true).value();
    format_.reset();
    device_.reset();
    EXPECT_TRUE(test::e2fsck_clean(image_.path()));
  }
  const Ext4Image& image() const { return image_; }

 private:
  Ext4Image image_;
  std::unique_ptr<device::Device> device_;
  std::unique_ptr<Format> format_;
};

InodeNumber create(Format& format, const std::string& name, std::uint64_t pages) {
  const auto handle = format.begin(kAny).value();
  Attributes attributes = plain_file();
  attributes.size = pages * kPageBytes;
  const InodeNumber inode = format.create_inode(*handle, format.root(), attributes).value();
  std::vector<Extent> added;
  format.allocate(*handle, inode, {PageIndex(0), PageIndex(pages)}, Initial::unwritten, added).value();
  format.add_name(*handle, format.root(), {name, inode, FileType::regular}).value();
  handle->done();
  return inode;
}

void destroy(Format& format, const std::string& name, InodeNumber inode) {
  const auto handle = format.begin(kFreeing).value();
  format.remove_name(*handle, format.root(), name).value();
  Attributes attributes = format.read_inode(inode).value();
  attributes.links = 0;
  format.write_inode(*handle, inode, attributes).value();
  format.remove(*handle, inode, {PageIndex(0), kEndOfFile}, 100).value();
  format.free_inode(*handle, inode).value();
  handle->done();
}

TEST(Format, ThreadsAndCommits) {
  Mounted format;
  const filesystem::Space empty = format->space();
  std::atomic<bool> stop{false};
  std::thread committer([&] {
    while (!stop.load()) format->commit().value();
  });
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 3; ++worker) {
    workers.emplace_back([&, worker] {
      for (int i = 0; i < 200; ++i) {
        const std::string name = std::to_string(worker) + "." + std::to_string(i);
        const InodeNumber inode = create(*format, name, 3);
        EXPECT_EQ(format->lookup(format->root(), name).value()->inode, inode);
        if (i % 4 != 0) destroy(*format, name, inode);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  stop.store(true);
  committer.join();
  EXPECT_EQ(format->space().free_inodes, empty.free_inodes - 150);
  format.expect_clean();
}

// Either a handle is counted before the commit drains, then the commit waits for it; or the commit drains first, then
// begin waits for the commit. Here: the handle first.
TEST(Format, CommitWaitsForTheOpenHandle) {
  Mounted format;
  std::atomic<bool> committed{false};
  static std::atomic<int> draining{0};
  draining = 0;
  mark::set_handler(
      [](void*, const char* name) {
        if (std::string_view(name) == "ext4.draining") ++draining;
      },
      nullptr);
  auto handle = format->begin(kAny).value();
  std::thread committer([&] {
    format->commit().value();
    committed = true;
  });
  while (draining == 0) std::this_thread::yield();
  // The commit has begun. The handle can still work, and a new one has to wait until both are through.
  std::atomic<bool> begun{false};
  std::thread later([&] {
    const auto second = format->begin(kAny).value();
    begun = true;
  });
  const InodeNumber inode = format->create_inode(*handle, format->root(), plain_file()).value();
  format->add_name(*handle, format->root(), {"during", inode, FileType::regular}).value();
  handle->done();
  EXPECT_FALSE(committed);
  EXPECT_FALSE(begun);
  handle.reset();
  committer.join();
  later.join();
  EXPECT_TRUE(committed);
  EXPECT_TRUE(begun);
  mark::set_handler(nullptr, nullptr);
  format.expect_clean();
}

TEST(Format, WriteErrorStopsAllWriting) {
  Mounted format;
  create(*format, "before", 2);
  format->commit().value();
  const InodeNumber inode = create(*format, "lost", 2);
  fault_point::arm("ext4.block_cache.write", 2);
  EXPECT_EQ(format->commit().error().code(), EIO);
  fault_point::disarm_all();
  const auto refused = format->begin(kAny);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), EROFS);
  EXPECT_NE(refused.error().message().find("writing metadata block"), std::string::npos) << refused.error().message();
  EXPECT_EQ(format->commit().error().code(), EROFS);
  // What is in memory can still be read.
  EXPECT_EQ(format->lookup(format->root(), "lost").value()->inode, inode);
  EXPECT_EQ(format->close(true).error().code(), EROFS);
  EXPECT_NE(test::run_program("dumpe2fs -h " + format.image().path() + " | grep -q 'state:  *clean$'").status, 0);
}

TEST(Format, FailuresInTheMiddleChangeNothing) {
  Mounted format;
  create(*format, "x", 1);
  const filesystem::Space before = format->space();
  for (const char* point : {"ext4.allocate_data", "ext4.allocate_inode"}) {
    const auto handle = format->begin(kAny).value();
    fault_point::arm(point, 1);
    const auto inode = format->create_inode(*handle, format->root(), plain_file());
    if (!inode) {
      EXPECT_EQ(inode.error().code(), ENOSPC);
      continue;
    }
    std::vector<Extent> added;
    const auto allocated = format->allocate(*handle, *inode, {PageIndex(0), PageIndex(9)}, Initial::unwritten, added);
    EXPECT_EQ(allocated.error().code(), ENOSPC);
    EXPECT_TRUE(added.empty());
    Attributes attributes = format->read_inode(*inode).value();
    attributes.links = 0;
    format->write_inode(*handle, *inode, attributes).value();
    format->free_inode(*handle, *inode).value();
    handle->done();
  }
  fault_point::disarm_all();
  EXPECT_EQ(format->space().free, before.free);
  EXPECT_EQ(format->space().free_inodes, before.free_inodes);
  format.expect_clean();
}

TEST(Format, InodesThatNoNameMayLeadTo) {
  Mounted format;
  for (const std::uint32_t number : {1u, 3u, 7u, 8u, 10u}) {
    EXPECT_FALSE(format->read_inode(InodeNumber{number}).has_value()) << number;
  }
  EXPECT_EQ(format->read_inode(InodeNumber{0}).error().code(), EUCLEAN);
  EXPECT_EQ(format->read_inode(InodeNumber{0xffffffff}).error().code(), EINVAL);
  EXPECT_EQ(format->read_inode(InodeNumber{500}).error().code(), ENOENT);
  const InodeNumber inode = create(*format, "a", 1);
  destroy(*format, "a", inode);
  EXPECT_EQ(format->read_inode(inode).error().code(), ENOENT);
  format.expect_clean();
}

TEST(Format, CloseWithOrphansIsNotClean) {
  Mounted format;
  {
    const auto handle = format->begin(kAny).value();
    Attributes attributes = plain_file();
    attributes.links = 0;
    const InodeNumber inode = format->create_inode(*handle, format->root(), attributes).value();
    format->add_orphan(*handle, inode).value();
    handle->done();
  }
  format->close(true).value();
  EXPECT_NE(test::run_program("dumpe2fs -h " + format.image().path() + " | grep -q 'state:  *clean$'").status, 0);
  EXPECT_LE(test::run_program("e2fsck -p " + format.image().path()).status, 1);
  EXPECT_TRUE(test::e2fsck_clean(format.image().path()));
}

TEST(Format, LimitsOfAttributes) {
  Mounted format;
  const InodeNumber inode = create(*format, "a", 1);
  const auto handle = format->begin(kAny).value();
  Attributes attributes = format->read_inode(inode).value();
  attributes.size = std::uint64_t{1} << 60;
  EXPECT_EQ(format->write_inode(*handle, inode, attributes).error().code(), EFBIG);
  attributes = format->read_inode(inode).value();
  attributes.links = 70'000;
  EXPECT_EQ(format->write_inode(*handle, inode, attributes).error().code(), EMLINK);
  attributes.type = FileType::directory;
  attributes.links = 70'000;
  const InodeNumber directory = format->create_inode(*handle, format->root(), attributes).value();
  EXPECT_EQ(format->read_inode(directory)->links, 1u);
}

TEST(Format, SpaceSaysWhatTheToolsSay) {
  const Ext4Image image(300 * MiB, "-t ext4 -m 10 -L data -U 12345678-9abc-def0-1234-56789abcdef0");
  const std::unique_ptr<device::Device> device = image.open();
  const std::unique_ptr<Format> format = mount(*device, {}).value();
  const filesystem::Space space = format->space();
  EXPECT_EQ(space.label, "data");
  EXPECT_EQ(space.uuid, "12345678-9abc-def0-1234-56789abcdef0");
  const std::int64_t reserved = test::dumpe2fs_number(image.path(), "Reserved block count");
  EXPECT_EQ(space.available, space.free - static_cast<std::uint64_t>(reserved) * 4096);
  EXPECT_LT(space.free, space.total);
  EXPECT_TRUE(format->block_free(Pfn(60'000)).value());
  EXPECT_FALSE(format->block_free(Pfn(0)).value());
  format->close(true).value();
}

// No per-group work beyond the descriptors: bitmaps and tables of 2,048 groups stay unread.
TEST(Format, MountOfALargePool) {
  const Ext4Image image(256 * GiB);
  const std::unique_ptr<device::Device> device = image.open();
  make_filesystem(*device, {}).value();
  const auto begin = std::chrono::steady_clock::now();
  const std::unique_ptr<VolumeCore> volume = VolumeCore::open(*device, false).value();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  std::printf("mount of 256 GiB: %.2f ms, %zu blocks read\n", took.count(), volume->cache().blocks());
  EXPECT_LE(volume->cache().blocks(), 4u);
}

}  // namespace
}  // namespace holdfast::ext4
