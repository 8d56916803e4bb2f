// Goal: a pin that finds its pages untracked, and has to go the slow way (find the blocks, insert the entries, count),
// against an operation that takes them out of the file: R2, in each step of either side. The pin has the page, and the
// operation waits for it; or the pin finds what the file is afterwards.
// Method: one side stopped at a mark, the other run past it, then the reverse; ext4 pools, truncate and punch.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <optional>

#include "race/file_race.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

enum class Cut { truncate, punch };

class SlowPin : public FileRace, public ::testing::WithParamInterface<Cut> {
 protected:
  static constexpr std::uint64_t kAt = 16 * KiB;

  void SetUp() override {
    FileRace::SetUp();
    file_.emplace(make_file("/file", 64 * KiB));
    ASSERT_EQ(references(), 0U) << "a write tracks nothing";
  }
  void TearDown() override {
    file_->truncate(0).value();
    EXPECT_EQ(references(), 0U) << "a reference was taken once too often, or not given back";
    file_.reset();
    FileRace::TearDown();
  }

  File& file() { return *file_; }
  int cut() { return code_of(GetParam() == Cut::truncate ? file().truncate(kAt) : file().punch(kAt, kPage)); }
  Result<Pin> pin(OnBreak on_break = OnBreak::wait) {
    return file().pin(kAt, kPage, {.access = Access::write, .on_break = on_break});
  }
  // The pin came too late: there is nothing, or a page of zeros.
  void expect_too_late(const Result<Pin>& late) {
    if (GetParam() == Cut::truncate) {
      EXPECT_EQ(code_of(late), ENXIO);
    } else {
      ASSERT_EQ(code_of(late), 0);
      EXPECT_EQ(text_of(*late), std::string(kPage, '\0'));
    }
  }
  // The cut runs whole while the pin is stopped.
  void cut_at(const char* mark) {
    SCOPED_TRACE(mark);
    MarkStop stop(mark);
    Task pinner([&] { return pin(); });
    ASSERT_TRUE(stop.wait_until_stopped());
    EXPECT_EQ(cut(), 0);
    stop.go_on();
    expect_too_late(pinner.get());
  }
  // The pin is stopped and goes on to its end while the cut waits for it.
  void pin_waited_for_at(const char* mark) {
    SCOPED_TRACE(mark);
    MarkStop stop(mark);
    Task pinner([&] { return pin(); });
    ASSERT_TRUE(stop.wait_until_stopped());
    MarkCount sleeps("layout.break.sleeps");
    std::atomic<bool> released{false};
    Task cutting([&] {
      const int code = cut();
      return std::pair(code, released.load());
    });
    ASSERT_TRUE(sleeps.wait_until(1)) << "a page that is counted was found idle";
    stop.go_on();
    Result<Pin> got = pinner.get();
    ASSERT_EQ(code_of(got), 0);
    EXPECT_EQ(text_of(*got), std::string(kPage, 'x'));
    EXPECT_EQ(file().size(), 64 * KiB);
    released = true;
    got->release();
    EXPECT_EQ(cutting.get(), std::pair(0, true));
  }

 private:
  std::optional<File> file_;
};

// Before the pin has looked for the blocks, and between its insert and its count: the page is gone when it looks again.
TEST_P(SlowPin, R2_TheCutComesBeforeTheInsert) { cut_at("pin.absent"); }
TEST_P(SlowPin, R2_TheCutComesBetweenInsertAndCount) { cut_at("pin.tracked"); }

// Counted, verified or not: the cut waits.
TEST_P(SlowPin, R2_TheCutComesBeforeTheCountIsVerified) { pin_waited_for_at("mapping.pin.batch_counted"); }
TEST_P(SlowPin, R2_TheCutComesAfterTheCount) { pin_waited_for_at("pin.counted"); }

// The pin is about to insert, with the blocks looked up: the cut lets it finish inside its hold. What it inserts inside
// the range of the break cannot be counted any more: the pin waits for the break, or is told of it.
TEST_P(SlowPin, R2_TheCutWaitsForTheInsert) {
  for (const OnBreak on_break : {OnBreak::fail, OnBreak::wait}) {
    MarkStop held("pin.held");
    Task pinner([&] { return pin(on_break); });
    ASSERT_TRUE(held.wait_until_stopped());
    MarkCount waits("mapping.gate.waits");
    MarkStop commits("truncate.stage_2");
    MarkStop punches("punch.stage_2");
    MarkStop& stage_2 = GetParam() == Cut::truncate ? commits : punches;
    Task cutting([&] { return cut(); });
    ASSERT_TRUE(stage_2.wait_until_stopped());
    (GetParam() == Cut::truncate ? punches : commits).go_on();
    if (on_break == OnBreak::fail) {  // it inserts and counts before the gate closes
      held.go_on();
      EXPECT_EQ(code_of(pinner.get()), EAGAIN);
      stage_2.go_on();
      EXPECT_EQ(cutting.get(), 0);
      EXPECT_FALSE(entry_of(file(), kAt).has_page());
      file().write(kAt, bytes(48 * KiB, 'x')).value();
      ASSERT_EQ(references(), 0U);
      continue;
    }
    stage_2.go_on();
    ASSERT_TRUE(waits.wait_until(1)) << "the gate closed over somebody inside";
    EXPECT_FALSE(cutting.done());
    EXPECT_EQ(text_of(file(), kAt, 1), "x") << "something was taken under the hold";
    held.go_on();
    EXPECT_EQ(cutting.get(), 0);
    expect_too_late(pinner.get());
  }
}

// The cut has its range to itself: the pin waits until it is over, and then looks again.
TEST_P(SlowPin, R2_ThePinWaitsForTheCut) {
  MarkStop out("removal.blocks_are_out");
  Task cutting([&] { return cut(); });
  ASSERT_TRUE(out.wait_until_stopped());
  MarkCount waits("mapping.hold.waits");
  Task pinner([&] { return pin(); });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_FALSE(pinner.done());
  out.go_on();
  EXPECT_EQ(cutting.get(), 0);
  expect_too_late(pinner.get());
}

INSTANTIATE_TEST_SUITE_P(Cuts, SlowPin, ::testing::Values(Cut::truncate, Cut::punch),
                         [](const auto& each) { return each.param == Cut::truncate ? "truncate" : "punch"; });

}  // namespace
}  // namespace holdfast::test
