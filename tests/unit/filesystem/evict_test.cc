// The end of inodes, and of the holding inode, against the worker, the memory and the lack of a thread: each number is
// freed once, and the quarantine forgets what is freed and nothing else.
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>

#include "base/fault_point.h"
#include "filesystem/worker.h"
#include "support/mark_stop.h"
#include "support/memory_pool.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

using std::chrono::seconds;

class Evicting : public MemoryPool {};

TEST_F(Evicting, TheWorkerIsThereBeforeTheLastReferenceHasAskedForIt) {
  start();
  FilePtr file = open("/file");
  write(file, 0, pattern(64 * KiB, 1));
  ASSERT_TRUE(unlink("/file"));
  MarkStop evicts("inode_table.evicts");
  filesystem::Inode& inode = *file->inode;
  // Serving waits at the mark below until the last reference is on its way.
  MarkStop serves("worker.serves");
  core_->worker().queue(*inode.release_hook);  // as a last put does
  Task serving([&] {
    settle();
    return true;
  });
  ASSERT_TRUE(serves.wait_until_stopped());
  Task closing([&] {
    file.reset();
    return true;
  });
  ASSERT_TRUE(evicts.wait_until_stopped());
  serves.go_on();
  EXPECT_TRUE(serving.get());
  settle();
  EXPECT_EQ(free_pages(), all_free_) << "the inode has been evicted";
  evicts.go_on();
  EXPECT_TRUE(closing.get());
  settle();
  EXPECT_TRUE(core_->quarantine().empty());
  const Status unmounted = core_->unmount(Deadline::after(Nanoseconds(0)));
  EXPECT_TRUE(unmounted) << unmounted.error().message();
}

TEST_F(Evicting, TheRecordOfANumberIsNotThatOfItsNextInode) {
  start();
  FilePtr first = open("/first");
  write(first, 0, pattern(8 * KiB, 1));
  const filesystem::InodeNumber number = first->inode->number;
  ASSERT_TRUE(unlink("/first"));
  MarkStop is_free("evict.number_is_free");
  first.reset();
  ASSERT_TRUE(is_free.wait_until_stopped());
  FilePtr second = open("/second");
  ASSERT_EQ(second->inode->number, number);
  write(second, 0, pattern(8 * KiB, 2));
  Pin held = pin(second, 0, 4096);
  ASSERT_TRUE(unlink("/second"));
  second.reset();
  EXPECT_FALSE(core_->quarantine().empty());
  const int emptied = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  is_free.go_on();
  ASSERT_TRUE(core_->quarantine().notify_when_empty(emptied));
  eventfd_t count = 0;
  EXPECT_NE(eventfd_read(emptied, &count), 0) << "a page is pinned";
  ASSERT_EQ(core_->quarantine().list().size(), 1U);
  EXPECT_TRUE(core_->quarantine().list()[0].evicted) << "its record was ended with that of the first inode";
  held.release();
  settle();
  EXPECT_EQ(eventfd_read(emptied, &count), 0);
  EXPECT_EQ(close(emptied), 0);
}

TEST_F(Evicting, AHoldingInodeThatCannotBeFreedIsInNobodysWay) {
  start();
  FilePtr file = open("/file");
  write(file, 0, pattern(64 * KiB, 1));
  Pin held = pin(file, 0, 4096);
  ASSERT_TRUE(truncate(file, 0, OnPinned::detach));
  settle();
  ASSERT_FALSE(core_->quarantine().empty());
  fault_point::arm("evict.free", 1);
  held.release();
  settle();
  fault_point::disarm_all();
  EXPECT_TRUE(core_->quarantine().empty());
  ASSERT_TRUE(core_->failure());
  file.reset();
  const Status unmounted = core_->unmount(Deadline::after(Nanoseconds(0)));
  ASSERT_FALSE(unmounted);
  EXPECT_EQ(unmounted.error().code(), EIO) << "closed, and not clean";
  EXPECT_TRUE(ending_.closed);
  EXPECT_FALSE(ending_.clean);
  EXPECT_EQ(ending_.orphans, 1U);
}

TEST_F(Evicting, TheLastPinClosesAPoolThatHasNoThread) {
  fault_point::arm("worker.start", 1, 1000);
  start();
  FilePtr file = open("/file");
  write(file, 0, pattern(64 * KiB, 1));
  Pin held = pin(file, 0, 4096);
  file.reset();
  end();
  ASSERT_FALSE(ending_.closed);
  held.release();
  EXPECT_TRUE(ending_.closed);
  EXPECT_TRUE(ending_.clean);
}

}  // namespace
}  // namespace holdfast::test
