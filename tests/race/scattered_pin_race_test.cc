// Goal: a pin of many scattered pages, one of which leaves the file after half of them were counted, is all or nothing:
// R23 for whole operations. Counted before the break marks its page, the pin is granted and the break waits; else all
// of it is undone, and the pin waits for the break and begins anew. Method: 512 pages in many pieces, on an ext4 pool;
// the pin stopped with two of its batches counted.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>

#include "race/file_race.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

class ScatteredPin : public FileRace {
 protected:
  static constexpr std::uint64_t kPages = 512;

  void SetUp() override {
    FileRace::SetUp();
    // A full pool, of which every second page falls free.
    File filler = make_file("/filler");
    std::uint64_t size = 0;
    for (const std::uint64_t step : {MiB, kPage}) {
      while (filler.allocate(size, step)) size += step;
    }
    for (std::uint64_t page = 0; page < kPages + 64; ++page) filler.punch(2 * page * kPage, kPage).value();
    fs().sync().value();
    file_.emplace(make_file("/file", kPages * kPage));
    static_cast<void>(pin().value());
    ASSERT_EQ(references(), kPages);
  }
  void TearDown() override {
    file_->truncate(0).value();
    EXPECT_EQ(references(), 0U);
    file_.reset();
    FileRace::TearDown();
  }
  File& file() { return *file_; }
  Result<Pin> pin(const PinOptions& options = {}) { return file().pin(0, kPages * kPage, options); }
  void expect_counts(std::uint32_t wanted) {
    for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(refcount_of(file(), page * kPage), wanted) << page;
  }

 private:
  std::optional<File> file_;
};

// Pages 64 to 127 are counted and not verified when the punch comes.
TEST_F(ScatteredPin, R23_APageGoesWhenHalfIsCounted) {
  for (const std::uint64_t page : {std::uint64_t{10}, std::uint64_t{100}, std::uint64_t{500}}) {
    SCOPED_TRACE(page);
    std::optional<MarkStop> first(std::in_place, "mapping.pin.batch_counted");
    std::optional<Result<Pin>> got;
    Task pinner([&] {
      got.emplace(pin({.access = Access::write}));
      return true;
    });
    ASSERT_TRUE(first->wait_until_stopped());
    MarkStop second("mapping.pin.batch_counted");
    first->go_on();
    ASSERT_TRUE(second.wait_until_stopped());
    MarkCount sleeps("layout.break.sleeps");
    const bool counted = page < 128;
    Task punching([&] { return code_of(file().punch(page * kPage, kPage)); });
    if (counted) {
      ASSERT_TRUE(sleeps.wait_until(1)) << "a counted page was found idle";
      second.go_on();
      EXPECT_TRUE(pinner.get());
      ASSERT_EQ(code_of(*got), 0);
      EXPECT_GT((*got)->segments().size(), kPages / 8) << "the pages lie together: this is not the case that is tried";
      EXPECT_EQ(text_of(**got), std::string(kPages * kPage, 'x'));
      EXPECT_FALSE(punching.done());
      expect_counts(2);
      got->value().release();
      EXPECT_EQ(punching.get(), 0);
    } else {
      EXPECT_EQ(punching.get(), 0);
      EXPECT_FALSE(entry_of(file(), page * kPage).has_page());
      second.go_on();
      EXPECT_TRUE(pinner.get());
      ASSERT_EQ(code_of(*got), 0);
      std::string wanted(kPages * kPage, 'x');
      wanted.replace(page * kPage, kPage, kPage, '\0');
      EXPECT_EQ(text_of(**got), wanted);
      expect_counts(2);
      got->value().release();
    }
    file().write(page * kPage, bytes(kPage, 'x')).value();
    static_cast<void>(pin().value());
    expect_counts(1);
  }
}

// A hole is no page for a reader: what was counted of the others is given back, and the error names the hole.
TEST_F(ScatteredPin, R23_AnUndoneBatchHoldsNothing) {
  for (const OnBreak on_break : {OnBreak::wait, OnBreak::fail}) {
    MarkStop counted("mapping.pin.batch_counted");
    Task pinner([&] { return code_of(pin({.on_break = on_break})); });
    ASSERT_TRUE(counted.wait_until_stopped());
    if (on_break == OnBreak::wait) {
      file().punch(300 * kPage, kPage).value();
      counted.go_on();
      EXPECT_EQ(pinner.get(), ENXIO);
    } else {  // the break is there, and has taken nothing yet
      MarkStop stage_2("punch.stage_2");
      Task punching([&] { return code_of(file().punch(301 * kPage, kPage)); });
      ASSERT_TRUE(stage_2.wait_until_stopped());
      counted.go_on();
      EXPECT_EQ(pinner.get(), EAGAIN);
      expect_counts(1);
      stage_2.go_on();
      EXPECT_EQ(punching.get(), 0);
    }
    EXPECT_TRUE(fs().pins().empty());
    file().write(300 * kPage, bytes(2 * kPage, 'x')).value();
    static_cast<void>(pin().value());
    expect_counts(1);
  }
}

}  // namespace
}  // namespace holdfast::test
