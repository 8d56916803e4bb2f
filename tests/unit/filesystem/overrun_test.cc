// A detach does not wait for a copy that lasts: it takes the range out of the file under the copy. Whose block is whose
// then, and that no bytes are lost. The copies are stopped at marks, past the patience of the break.
#include <functional>
#include <string>

#include "base/fault_point.h"
#include "filesystem/fallocate.h"
#include "support/mark_stop.h"
#include "support/memory_pool.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

class Overrun : public MemoryPool {
 protected:
  // What may take bytes [10'192, 16 KiB) away and leave the rest of the page in front in the file.
  struct Cut {
    std::string name;
    std::function<Status(const FilePtr&)> run;
    bool shrinks = false;
  };
  // A look at what the copy touched, and then the end of the holding inode that the look found empty.
  void settle_after_copy() {
    settle();
    settle();
  }

  static constexpr std::uint64_t kCut = 8192 + 2000;
  static std::vector<Cut> cuts() {
    constexpr std::uint64_t kLength = 16 * KiB - kCut;
    return {
        {"truncate", [](const FilePtr& file) { return truncate(file, kCut, OnPinned::detach); }, true},
        {"punch",
         [](const FilePtr& file) {
           return filesystem::punch(*file->inode, kCut, kLength, OnPinned::detach, Deadline::never());
         }},
        {"zero_range",
         [](const FilePtr& file) {
           return filesystem::zero_range(*file->inode, kCut, kLength, OnPinned::detach, Deadline::never());
         }},
    };
  }
};

TEST_F(Overrun, AWriteInPlaceIsNotLost) {
  for (const Cut& cut : cuts()) {
    SCOPED_TRACE(cut.name);
    start();
    const FilePtr file = open("/a");
    write(file, 0, pattern(16 * KiB, 1));
    const Bytes fresh = pattern(1000, 2);
    MarkStop found("write.found");
    Task writing([&] { return write(file, 8192 + 500, fresh); });
    ASSERT_TRUE(found.wait_until_stopped());
    ASSERT_TRUE(cut.run(file));
    found.go_on();
    EXPECT_EQ(writing.get(), fresh.size());
    EXPECT_EQ(read(file, 8192 + 500, fresh.size()), fresh) << "the write said that it was done";
    Bytes old = pattern(8192 + 500, 1);
    EXPECT_EQ(read(file, 0, old.size()), old);
    EXPECT_EQ(size_of(file), cut.shrinks ? kCut : 16 * KiB);
    settle_after_copy();
    EXPECT_TRUE(core_->quarantine().empty()) << "the copy has ended";
    EXPECT_EQ(format_->free_pages(), all_free_ - (cut.name == "zero_range" ? 4 : 3));
  }
}

// The same for a store through a window's memory (window_memory.h), which brings no blocks past the end.
TEST_F(Overrun, AStoreInPlaceIsNotLost) {
  for (const Cut& cut : cuts()) {
    SCOPED_TRACE(cut.name);
    start();
    const FilePtr file = open("/a");
    write(file, 0, pattern(16 * KiB, 1));
    const Bytes fresh = pattern(1000, 2);
    MarkStop found("write.found");
    Task storing([&] { return file->store(8192 + 500, fresh).value(); });
    ASSERT_TRUE(found.wait_until_stopped());
    ASSERT_TRUE(cut.run(file));
    found.go_on();
    EXPECT_EQ(storing.get(), fresh.size());
    EXPECT_EQ(read(file, 8192 + 500, fresh.size()), fresh);
  }
}

TEST_F(Overrun, AReadShowsNothingBehindTheNewEnd) {
  start();
  const FilePtr file = open("/a");
  const Bytes old = pattern(16 * KiB, 1);
  write(file, 0, old);
  MarkStop knows_size("read.knows_size");
  Task reading([&] { return read(file, 0, 16 * KiB); });
  ASSERT_TRUE(knows_size.wait_until_stopped());
  ASSERT_TRUE(truncate(file, 5000, OnPinned::detach));
  knows_size.go_on();
  EXPECT_EQ(reading.get(), Bytes(old.begin(), old.begin() + 5000));
}

// A detach of half a pinned unit, under a copy into a page that leaves. What goes wrong after the blocks went to
// quarantine must not make them free under the copy.
TEST_F(Overrun, BlocksStayWithTheCopyWhateverFailsAfterTheyLeft) {
  const auto shrink = [](const FilePtr& file) { return truncate(file, 3 * MiB, OnPinned::detach); };
  const auto zero = [](const FilePtr& file) {
    return filesystem::zero_range(*file->inode, 3 * MiB, MiB, OnPinned::detach, Deadline::never());
  };
  const std::vector<std::pair<std::string, std::function<Status(const FilePtr&)>>> failures{
      {"mapping.node", shrink}, {"removal.step", shrink}, {"mapping.node", zero}};
  for (const auto& [fails, run] : failures) {
    SCOPED_TRACE(fails);
    start();
    const FilePtr file = open("/a");
    write(file, 0, pattern(4 * MiB, 1));
    Pin unit = pin(file, 2 * MiB, 4096);
    ASSERT_EQ(file->inode->mapping.lookup(PageIndex(512)).order(), kOrder2M);
    const Bytes fresh = pattern(1000, 2);
    MarkStop found("write.found");
    Task writing([&] { return write(file, 3 * MiB + 8192, fresh); });
    ASSERT_TRUE(found.wait_until_stopped());
    fault_point::arm(fails, 1);
    EXPECT_FALSE(run(file));
    fault_point::disarm_all();
    unit.release();
    settle();
    EXPECT_EQ(core_->quarantine().bytes(), MiB) << "the copy lasts";
    found.go_on();
    EXPECT_EQ(writing.get(), fresh.size());
    settle_after_copy();
    EXPECT_TRUE(core_->quarantine().empty());
    EXPECT_EQ(read(file, 3 * MiB + 8192, fresh.size()), fresh);
    EXPECT_EQ(read(file, 0, 3 * MiB), pattern(3 * MiB, 1));
  }
}

}  // namespace
}  // namespace holdfast::test
