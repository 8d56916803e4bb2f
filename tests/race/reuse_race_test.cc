// Goal: the blocks of a file that went, with its window, its handle, its name and its inode, are nobody else's while
// they are pinned, and everybody's after: R5. Also where the last unpin and the look of the eviction meet, R18: the
// file that the last unpin would tell is going. Method: a small pool filled to the last block with other files' bytes,
// while a device goes on writing under the pin; marks stop the unpin in its last step, or the eviction.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <string>

#include "race/file_race.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

class Reuse : public FileRace {
 protected:
  static constexpr std::uint64_t kBytes = 128 * KiB;

  void SetUp() override { make_pool({}, 8 * MiB); }

  // All that is free becomes files of 'f'.
  void fill() {
    const std::vector<std::byte> piece = bytes(64 * KiB, 'f');
    for (;; ++files_) {
      Result<File> made = fs().open(name(files_), Open::read_write | Open::create);
      if (!made) break;
      if (!made->write(0, piece)) break;
    }
  }
  void expect_fills_intact() {
    for (unsigned number = 0; exists(name(number)); ++number) {
      const File file = fs().open(name(number), Open::read).value();
      ASSERT_EQ(text_of(file, 0, 64 * KiB), std::string(file.size(), 'f')) << number;
    }
  }
  void remove_fills() {
    for (files_ = 0; fs().unlink(name(files_)); ++files_) {
    }
    files_ = 0;
  }
  // The file's window, handle and name go; a pin of its middle is left.
  Pin pin_alone(bool by_address, bool unlink_first) {
    std::optional<File> file = make_file("/file", kBytes, 'p');
    std::optional<Window> window = file->map(0, kBytes).value();
    window->data()[0] = std::byte{'P'};
    const PinOptions options{.access = Access::write, .purpose = "nic read"};
    Pin held =
        (by_address ? fs().pin_address(window->data() + 32 * KiB, kHeld, options) : file->pin(32 * KiB, kHeld, options))
            .value();
    if (unlink_first) fs().unlink("/file").value();
    window.reset();
    file.reset();
    if (!unlink_first) fs().unlink("/file").value();
    return held;
  }

  // The entries' own, as a break does that is given up: the next unpin of a page is its last reference.
  static void give_up_references(const File& file) {
    static_cast<void>(inode_of(file).mapping.zap({PageIndex(0), kEndOfFile}));
  }

  static constexpr std::uint64_t kHeld = 64 * KiB;

 private:
  static std::string name(unsigned number) { return "/fill" + std::to_string(number); }
  unsigned files_ = 0;
};

TEST_F(Reuse, R5_PinUnmapCloseUnlinkEvictReallocateWriteCompare) {
  for (const bool by_address : {false, true}) {
    for (const bool unlink_first : {true, false}) {
      SCOPED_TRACE(by_address ? "by address" : "of the file");
      SCOPED_TRACE(unlink_first ? "unlinked, then closed" : "closed, then unlinked");
      const std::uint64_t before = fs().space().free;
      Pin held = pin_alone(by_address, unlink_first);
      EXPECT_EQ(fs().space().quarantined, kHeld);
      fill();
      EXPECT_EQ(text_of(held), std::string(kHeld, 'p')) << "its blocks are another file's";
      write_to(held, 'd');
      fs().sync().value();
      EXPECT_EQ(text_of(held), std::string(kHeld, 'd'));
      expect_fills_intact();
      const std::uint64_t free = fs().space().free;
      held.release();
      EXPECT_EQ(fs().space().free, free + kHeld);
      EXPECT_EQ(fs().space().quarantined, 0U);
      fill();
      expect_fills_intact();
      remove_fills();
      EXPECT_EQ(fs().space().free, before);
    }
  }
}

// The eviction looks before the last unpin has stepped down: the pages stay, and the unpin's own request frees them.
TEST_F(Reuse, R5_TheEvictionLooksBeforeTheLastStep) {
  const std::uint64_t before = fs().space().free;
  std::optional<Pin> held = pin_alone(false, true);
  // The question finishes what the worker was asked: the entries are gone, and the unpin is the last reference.
  ASSERT_EQ(fs().space().quarantined, kHeld);
  MarkStop last("pagemap.owner_read");
  Task releasing([&] {
    held.reset();
    return true;
  });
  ASSERT_TRUE(last.wait_until_stopped());
  EXPECT_EQ(fs().space().quarantined, kHeld) << "a page was taken for idle before its unpin";
  last.go_on();
  EXPECT_TRUE(releasing.get());
  EXPECT_EQ(fs().space().quarantined, 0U);
  EXPECT_EQ(fs().space().free, before);
}

// The eviction looks after the step: it frees the blocks before the unpin has told anybody. The inode lives until the
// unpin is through with it.
TEST_F(Reuse, R5_TheEvictionLooksAfterTheLastStep) {
  const std::uint64_t before = fs().space().free;
  std::optional<File> file = make_file("/file", kHeld, 'p');
  std::optional<Pin> held = file->pin(0, kPage, {.access = Access::write}).value();
  fs().unlink("/file").value();
  give_up_references(*file);
  MarkStop last("pagemap.last_put");
  Task releasing([&] {
    held.reset();
    return true;
  });
  ASSERT_TRUE(last.wait_until_stopped());
  MarkCount freed("evict.freed");
  Task evicting([&] {
    file.reset();
    settle();
    return true;
  });
  ASSERT_TRUE(freed.wait_until(1)) << "an idle page was not freed";
  EXPECT_FALSE(evicting.done()) << "the inode went while its last put was to come";
  last.go_on();
  EXPECT_TRUE(releasing.get());
  EXPECT_TRUE(evicting.get());
  EXPECT_EQ(fs().space().quarantined, 0U);
  EXPECT_EQ(fs().space().free, before);
}

// R18: the last unpin has read whom to tell, and has stepped down or not, while the file is cut by a detach, unlinked
// and evicted. It tells the owner of the page as it is then; and the mapping of the file that was ends only when it has
// let go.
TEST_F(Reuse, R18_TheOwnerGoesWhileItIsLookedUp) {
  for (const char* const place : {"pagemap.owner_read", "pagemap.last_put"}) {
    SCOPED_TRACE(place);
    const std::uint64_t before = fs().space().free;
    std::optional<File> file = make_file("/file", kBytes, 'p');
    std::optional<Pin> held = file->pin(32 * KiB, kPage, {.access = Access::write}).value();
    give_up_references(*file);
    MarkStop stop(place);
    Task releasing([&] {
      held.reset();
      return true;
    });
    ASSERT_TRUE(stop.wait_until_stopped());
    const bool still_held = std::string(place) == "pagemap.owner_read";
    EXPECT_EQ(code_of(file->truncate(0, {.on_pinned = OnPinned::detach})), 0);
    EXPECT_EQ(fs().space().quarantined, still_held ? kPage : 0);
    MarkCount freed("evict.freed");
    Task going([&] {
      fs().unlink("/file").value();
      file.reset();
      settle();
      return true;
    });
    ASSERT_TRUE(freed.wait_until(1));
    EXPECT_FALSE(going.done()) << "the mapping ended under an unpin that may tell it";
    stop.go_on();
    EXPECT_TRUE(releasing.get());
    EXPECT_TRUE(going.get());
    EXPECT_EQ(fs().space().quarantined, 0U);
    EXPECT_EQ(fs().space().free, before);
    EXPECT_EQ(references(), 0U);
  }
}

}  // namespace
}  // namespace holdfast::test
