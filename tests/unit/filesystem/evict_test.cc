// The end of inodes, and of the holding inode, against the worker, the memory and the lack of a thread: each number is
// freed once, and the quarantine forgets what is freed and nothing else.
#include "filesystem/worker.h"
#include "support/mark_stop.h"
#include "support/memory_pool.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

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

}  // namespace
}  // namespace holdfast::test
