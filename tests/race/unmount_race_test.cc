// Goal: the end of a file system against opens, pins and faults that are on their way: R17, for a pool with files.
// Either the unmount finds them and refuses, or they find it unmounted; a Filesystem that goes while a fault or a pin
// is in the middle lives until the last handle, window and pin. Method: ext4 pools; marks stop the unmount between its
// looks, or the fault or pin; e2fsck judges the image.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <string>

#include "race/file_race.h"
#include "support/mark_stop.h"
#include "support/skip.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

class Unmount : public FileRace {
 protected:
  int unmount() { return code_of(fs().unmount()); }
  void expect_closed_and_clean() {
    leave();
    EXPECT_TRUE(e2fsck_clean(path()));
    // The thread that closed it gives the device up after the last write.
    Task mounting([&] {
      int code = EBUSY;
      while (code == EBUSY) code = code_of(mount());
      return code;
    });
    ASSERT_EQ(mounting.get(), 0);
  }
};

// A file is opened, mapped and pinned after the unmount has found nobody, and before it has closed the door.
TEST_F(Unmount, R17_AnOpenComesBeforeTheDoorIsClosed) {
  make_file("/file", 64 * KiB);
  MarkStop closes("unmount.closes");
  Task unmounting([&] { return unmount(); });
  ASSERT_TRUE(closes.wait_until_stopped());
  File file = fs().open("/file", Open::read_write).value();
  const Window window = file.map(0, 64 * KiB).value();
  const Pin pin = file.pin(16 * KiB, kPage, {.access = Access::write}).value();
  closes.go_on();
  EXPECT_EQ(unmounting.get(), EBUSY);
  // Nobody has noticed.
  EXPECT_EQ(std::to_integer<char>(window.data()[40 * KiB]), 'x');
  write_to(pin, 'd');
  EXPECT_EQ(text_of(file, 16 * KiB, 2), "dd");
  EXPECT_EQ(code_of(file.write(0, bytes(kPage, 'y'))), 0);
}

// The other arm: the door is closed.
TEST_F(Unmount, R17_AnOpenComesAfterTheDoorIsClosed) {
  make_file("/file", 64 * KiB);
  MarkStop closing("unmount.closing");
  Task unmounting([&] { return unmount(); });
  ASSERT_TRUE(closing.wait_until_stopped());
  EXPECT_EQ(code_of(fs().open("/file", Open::read_write)), ENODEV);
  closing.go_on();
  EXPECT_EQ(unmounting.get(), 0);
  EXPECT_EQ(code_of(fs().open("/file", Open::read_write)), ENODEV);
  expect_closed_and_clean();
}

// A pin that is taken, and whose handle is closed, between the unmount's looks: it is found. One that is just being
// released, without a name already and counted still, is nobody whom the unmount could name: it goes on, leaves the
// counted page alone, and the pool closes with the last step of the unpin.
TEST_F(Unmount, R17_APinComesBetweenTheLooks) {
  make_file("/file", 64 * KiB);
  for (const bool released : {false, true}) {
    SCOPED_TRACE(released ? "is being released" : "is held");
    MarkStop closes("unmount.closes");
    Task unmounting([&] { return unmount(); });
    ASSERT_TRUE(closes.wait_until_stopped());
    std::optional<Pin> pin;
    {
      File file = fs().open("/file", Open::read_write).value();
      pin = file.pin(0, kPage, {.access = Access::write}).value();
    }
    if (!released) {
      closes.go_on();
      EXPECT_EQ(unmounting.get(), EBUSY);
      write_to(*pin, 'd');
      continue;
    }
    // Used last: its inode is dropped behind the other's.
    fs().list("/", [](const DirectoryEntry&) { return true; }).value();
    MarkStop nameless("pin.nameless");
    Task releasing([&] {
      pin.reset();
      return true;
    });
    ASSERT_TRUE(nameless.wait_until_stopped());
    MarkCount drops("inode_table.drops");
    closes.go_on();
    ASSERT_TRUE(drops.wait_until(2)) << "the first of them is the file, and pinned";
    nameless.go_on();
    EXPECT_EQ(unmounting.get(), 0);
    EXPECT_TRUE(releasing.get());
  }
  expect_closed_and_clean();
}

// The same with the count gone and the last step to come: the device's reference is given back once, by the unpin.
TEST_F(Unmount, R17_TheUnmountComesBeforeTheLastStepOfAnUnpin) {
  std::optional<Pin> pin;
  {
    File file = make_file("/file", 64 * KiB);
    pin = file.pin(0, kPage).value();
    static_cast<void>(inode_of(file).mapping.zap({PageIndex(0), kEndOfFile}));
  }
  MarkStop last("pagemap.last_put");
  Task releasing([&] {
    pin.reset();
    return true;
  });
  ASSERT_TRUE(last.wait_until_stopped());
  // The inode of the pin waits for the unpin, and the unmount for that.
  MarkCount closing("unmount.closing");
  Task unmounting([&] { return unmount(); });
  ASSERT_TRUE(closing.wait_until(1));
  last.go_on();
  EXPECT_TRUE(releasing.get());
  EXPECT_EQ(unmounting.get(), 0);
  expect_closed_and_clean();
}

// The Filesystem object goes while a touch is being served: the window keeps the pool, and the touch is served.
TEST_F(Unmount, R17_TheFilesystemEndsUnderAFault) {
  for (const ServeFaults served : {ServeFaults::thread, ServeFaults::in_thread}) {
    const char* const step = served == ServeFaults::thread ? "window.try_serve" : "window.in_thread";
    std::optional<Window> window;
    {
      File file = make_file("/file", 256 * KiB);
      window = file.map(0, 256 * KiB, {.faults = served}).value();
    }
    if (window->faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
    MarkStop serve(window->faults() == Faults::in_thread ? step : "window.try_serve");
    Task toucher([&] {
      window->data()[128 * KiB] = std::byte{'s'};
      return std::to_integer<char>(window->data()[128 * KiB + 1]);
    });
    ASSERT_TRUE(serve.wait_until_stopped());
    EXPECT_EQ(unmount(), EBUSY);
    leave();
    serve.go_on();
    EXPECT_EQ(toucher.get(), 'x');
    EXPECT_EQ(std::to_integer<char>(window->data()[200 * KiB]), 'x');
    MarkCount closed("core.closed");
    window.reset();
    ASSERT_TRUE(closed.wait_until(1));
    expect_closed_and_clean();
    EXPECT_EQ(text_of(fs().open("/file", Open::read).value(), 128 * KiB, 2), "sx");
  }
}

// The same under a pin that is about to insert its entry: it is granted, holds what it was granted, and the pool closes
// with it.
TEST_F(Unmount, R17_TheFilesystemEndsUnderAPin) {
  std::optional<File> file = make_file("/file", 64 * KiB);
  MarkStop held("pin.held");
  Task pinner([&] { return file->pin(0, kPage, {.access = Access::write}); });
  ASSERT_TRUE(held.wait_until_stopped());
  leave();
  held.go_on();
  Result<Pin> pin = pinner.get();
  ASSERT_EQ(code_of(pin), 0);
  file.reset();
  write_to(*pin, 'd');
  MarkCount closed("core.closed");
  pin->release();
  ASSERT_TRUE(closed.wait_until(1));
  expect_closed_and_clean();
  EXPECT_EQ(text_of(fs().open("/file", Open::read).value(), 0, 2), "dd");
}

}  // namespace
}  // namespace holdfast::test
