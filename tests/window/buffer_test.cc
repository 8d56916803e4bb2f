// Goal: a buffer of read, write or append may lie in windows, whole or in part, and is memory like any; the library
// never touches a window itself.
// Method: buffers in windows of another file and of the same, on every carrier, compared with the bytes through the
// files; their ends, holes and unmapped parts; and a break that waits for the very caller. (That no window is touched
// is a check in filesystem/user_bytes.h.)
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "support/hugetlb.h"
#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/showing_bed.h"
#include "support/skip.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

class Buffers : public ShowingBed {
 protected:
  void SetUp() override {
    ShowingBed::SetUp();
    if (IsSkipped()) return;
    file_.emplace(make_file("/a", pattern(4 * grain())));
    other_.emplace(make_file("/b", ""));
  }
  void TearDown() override {
    file_.reset();
    other_.reset();
  }
  File& file() { return *file_; }
  File& other() { return *other_; }

 private:
  std::optional<File> file_;
  std::optional<File> other_;
};

TEST_P(Buffers, AreMemoryLikeAny) {
  other().truncate(4 * grain()).value();
  const Window window = map(other(), 0, 4 * grain()).value();
  EXPECT_EQ(file().read(0, window.bytes()).value(), 4 * grain());
  EXPECT_EQ(contents(other(), 0, 4 * grain()), pattern(4 * grain()));
  EXPECT_EQ(text(window, 0, 4 * grain()), pattern(4 * grain()));
  EXPECT_EQ(file().write(grain(), window.bytes().first(grain())).value(), grain());
  EXPECT_EQ(contents(file(), grain(), grain()), pattern(4 * grain()).substr(0, grain()));
  const Window itself = map(file(), 0, 4 * grain()).value();
  EXPECT_EQ(file().write(2 * grain(), itself.bytes().subspan(grain(), grain())).value(), grain());
  EXPECT_EQ(contents(file(), 2 * grain(), grain()), pattern(4 * grain()).substr(0, grain()));
}

TEST_P(Buffers, AtAnyByteAndInPieces) {
  other().truncate(4 * grain()).value();
  const Window window = map(other(), 0, 4 * grain()).value();
  std::string before(100, '.');
  std::string behind(50, '.');
  const std::vector<iovec> pieces = {{before.data(), before.size()},
                                     {window.data() + grain() - 7, 20},
                                     {behind.data(), behind.size()},
                                     {window.data() + 3 * grain() + 1, 1000}};
  EXPECT_EQ(file().read(3, pieces).value(), 1170U);
  EXPECT_EQ(before, pattern(grain()).substr(3, 100));
  EXPECT_EQ(contents(other(), grain() - 7, 20), pattern(grain()).substr(103, 20));
  EXPECT_EQ(behind, pattern(grain()).substr(123, 50));
  EXPECT_EQ(contents(other(), 3 * grain() + 1, 1000), pattern(grain()).substr(173, 1000));
  EXPECT_EQ(contents(other(), grain() + 13, 10), std::string(10, '\0'));
  EXPECT_EQ(file().write(grain() + 1, pieces).value(), 1170U);
  EXPECT_EQ(contents(file(), grain() + 1, 1170), pattern(grain()).substr(3, 1170));
}

TEST_P(Buffers, AppendsTakeThemShortAndLong) {
  const std::uint64_t length = std::max<std::uint64_t>(40 * 4 * KiB, grain());
  write(other(), 0, pattern(length));
  const Window window = map(other(), 0, length).value();
  EXPECT_EQ(file().append(window.bytes().subspan(5, 77)).value(), 4 * grain());
  EXPECT_EQ(file().append(window.bytes()).value(), 4 * grain() + 77);
  EXPECT_EQ(contents(file(), 4 * grain(), 77), pattern(length).substr(5, 77));
  EXPECT_EQ(contents(file(), 4 * grain() + 77, length), pattern(length));
  // Of itself: what is appended is what was there before.
  const Window itself = map(file(), 0, 4 * grain()).value();
  EXPECT_EQ(file().append(itself.bytes().first(30)).value(), 4 * grain() + 77 + length);
  EXPECT_EQ(contents(file(), 4 * grain() + 77 + length, 30), pattern(30));
}

// Longer than what is gathered at a time: the readable part alone must not be there afterwards.
TEST_P(Buffers, AnAppendOfWhatIsNotAllThereIsNotDone) {
  const std::uint64_t length = std::max<std::uint64_t>(128 * KiB, 2 * grain());
  const std::uint64_t there = length / 8 * 7;
  write(other(), 0, pattern(there));
  const Window window = map(other(), 0, length).value();
  const std::uint64_t shown = (there + grain() - 1) / grain() * grain();
  const std::uint64_t before = file().stat().value().allocated;
  if (shown < length) {
    EXPECT_EQ(code_of(file().append(window.bytes())), EFAULT);
  }
  other().truncate(grain()).value();
  EXPECT_EQ(code_of(file().append(window.bytes())), EFAULT);
  EXPECT_EQ(file().size(), 4 * grain());
  EXPECT_EQ(file().stat().value().allocated, before);
  write(other(), 0, pattern(length));
  EXPECT_EQ(file().append(window.bytes()).value(), 4 * grain());
  EXPECT_EQ(contents(file(), 4 * grain(), length), pattern(length));
}

TEST_P(Buffers, AHoleThatIsOnlyReadStaysOne) {
  other().truncate(4 * grain()).value();
  const Window window = map(other(), 0, 4 * grain(), {.access = Access::read}).value();
  const std::uint64_t allocated = other().stat().value().allocated;
  EXPECT_EQ(file().write(grain(), window.bytes().first(grain())).value(), grain());
  EXPECT_EQ(contents(file(), grain(), grain()), std::string(grain(), '\0'));
  EXPECT_EQ(other().stat().value().allocated, allocated);
}

TEST_P(Buffers, WhatCannotBeTouchedIsEfault) {
  other().truncate(2 * grain() + 10).value();
  const Window window = map(other(), 0, 8 * grain()).value();
  // Past the end; up to the end of its page bytes are nobody's, and count.
  EXPECT_EQ(code_of(file().read(0, window.bytes().subspan(3 * grain(), 10))), EFAULT);
  EXPECT_EQ(code_of(file().write(0, window.bytes().subspan(3 * grain(), 10))), EFAULT);
  EXPECT_EQ(code_of(file().append(window.bytes().subspan(3 * grain() - 5, 10))), EFAULT);
  EXPECT_EQ(file().read(0, window.bytes().subspan(2 * grain(), 2 * grain())).value(), grain());
  EXPECT_EQ(contents(other(), 2 * grain(), 10), pattern(10));
  EXPECT_EQ(other().size(), 2 * grain() + 10);
  EXPECT_EQ(file().write(0, window.bytes().subspan(2 * grain() + 10, 2 * grain())).value(), grain() - 10);
  // For reading only.
  const Window reader = map(other(), 0, 2 * grain(), {.access = Access::read}).value();
  EXPECT_EQ(code_of(file().read(0, reader.bytes().first(10))), EFAULT);
  EXPECT_EQ(contents(other(), 0, 10), std::string(10, '\0'));
}

TEST_P(Buffers, AnUnmappedPartIsEfault) {
  other().truncate(4 * grain()).value();
  Window window = map(other(), 0, 4 * grain()).value();
  window.unmap(grain(), grain()).value();
  EXPECT_EQ(file().read(0, window.bytes()).value(), grain());
  EXPECT_EQ(code_of(file().read(0, window.bytes().subspan(grain() + 3, 10))), EFAULT);
  EXPECT_EQ(code_of(file().write(0, window.bytes().subspan(2 * grain() - 1, 10))), EFAULT);
  EXPECT_EQ(file().write(0, window.bytes().subspan(2 * grain(), 10)).value(), 10U);
  EXPECT_EQ(code_of(fs().pin_address(window.data() + grain(), 10)), EFAULT);
  EXPECT_EQ(code_of(fs().pin_address(window.data(), grain() + 1)), EFAULT);
  EXPECT_TRUE(fs().pin_address(window.data(), 10, {.access = Access::write}));
}

TEST_P(Buffers, AFullPoolIsAnErrorNotASignal) {
  other().truncate(16 * MiB).value();
  const Window window = map(other(), 0, 16 * MiB).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "map gives every hole its blocks at once");
  File filler = fs().open("/filler", Open::create | Open::read_write).value();
  std::uint64_t filled = 0;
  for (std::uint64_t piece = 32 * MiB; piece >= grain();) {
    if (filler.allocate(filled, piece)) {
      filled += piece;
    } else {
      piece /= 2;
    }
  }
  EXPECT_EQ(code_of(file().read(0, window.bytes().subspan(12 * MiB, grain()))), ENOSPC);
  filler.truncate(0).value();
  EXPECT_EQ(file().read(0, window.bytes().subspan(12 * MiB, grain())).value(), grain());
}

// The break waits for a pin of this very thread, which meanwhile reads into the range: that must go on, or both wait
// for ever.
TEST_P(Buffers, ABreakThatWaitsForTheCallerIsPassed) {
  write(other(), 0, pattern(4 * grain()));
  const Window window = map(other(), 0, 4 * grain()).value();
  std::optional<Pin> pin = other().pin(grain(), 10).value();
  MarkCount waits("layout.break.sleeps");
  Task punch([&] { return code_of(other().punch(0, 2 * grain())); });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_EQ(file().read(grain() / 2, window.bytes().subspan(grain(), 100)).value(), 100U);
  EXPECT_EQ(file().write(0, window.bytes().subspan(grain(), 100)).value(), 100U);
  EXPECT_EQ(contents(file(), 0, 100), pattern(grain()).substr(grain() / 2, 100));
  EXPECT_FALSE(punch.done());
  pin->release();
  EXPECT_EQ(punch.get(), 0);
}

// Each touch of the text needs the lock of the file that the call changes: its block is there, and not written.
TEST_P(Buffers, TextMayLieInAWindowOfTheSameFile) {
  const std::uint64_t apart = std::max<std::uint64_t>(grain(), 64 * KiB);  // more than one fault brings
  file().allocate(0, 20 * apart).value();
  const Window window = map(file(), 0, 20 * apart).value();
  std::uint64_t at = 5 * apart - 3;
  // A place for the text, of which a part is an unwritten block still.
  const auto place = [&](const std::string& text) {
    at += apart;
    std::memcpy(window.data() + at, text.data(), std::min<std::size_t>(text.size(), 3));
    if (text.size() > 3) write(file(), at + 3, text.substr(3));
    return std::string_view(reinterpret_cast<const char*>(window.data() + at), text.size());
  };
  // Zeros out of blocks that nobody wrote.
  const std::string_view zeros(reinterpret_cast<const char*>(window.data() + 4 * apart), 100);
  EXPECT_EQ(code_of(file().set_attribute("user.zeros", zeros)), 0);
  EXPECT_EQ(file().attribute("user.zeros").value(), std::string(100, '\0'));
  const std::string_view name = place("user.name");
  EXPECT_EQ(code_of(file().set_attribute(name, place("value"))), 0);
  EXPECT_EQ(file().attribute(name).value(), "value");
  EXPECT_EQ(code_of(file().remove_attribute(name)), 0);
  const std::string_view path = place("/directory");
  EXPECT_EQ(code_of(fs().make_directory(path)), 0);
  EXPECT_EQ(code_of(fs().rename(path, place("/other"))), 0);
  EXPECT_EQ(code_of(fs().symlink(place("/target/of/the/link"), place("/link"))), 0);
  EXPECT_EQ(fs().read_symlink(place("/link")).value(), "/target/of/the/link");
  EXPECT_EQ(code_of(fs().link(place("/a"), place("/c"))), 0);
  EXPECT_EQ(code_of(fs().unlink(place("/c"))), 0);
  EXPECT_EQ(code_of(fs().remove_directory(place("/other"))), 0);
}

// The list of the pieces is read while the file is held.
TEST_P(Buffers, TheListOfThemMayLieInAWindow) {
  write(other(), 0, pattern(4 * grain()));
  const Window window = map(other(), 0, 4 * grain()).value();
  std::string first(5, '.');
  std::string second(7, '.');
  const iovec list[] = {{first.data(), first.size()}, {second.data(), second.size()}};
  std::memcpy(window.data() + 2 * grain() - sizeof(iovec), list, sizeof(list));
  const std::span<const iovec> there(reinterpret_cast<const iovec*>(window.data() + 2 * grain() - sizeof(iovec)), 2);
  EXPECT_EQ(other().read(0, there).value(), 12U);
  EXPECT_EQ(first + second, pattern(12));
  EXPECT_EQ(other().write(grain(), there).value(), 12U);
  EXPECT_EQ(contents(other(), grain(), 12), pattern(12));
}

INSTANTIATE_TEST_SUITE_P(Carriers, Buffers, ::testing::ValuesIn(kEveryShowing),
                         [](const auto& parameter) { return to_string(parameter.param); });

}  // namespace
}  // namespace holdfast::test
