// Goal: whatever pins, faults, copies, unit formations and breaks do to each other, bytes do not change under a pin.
// Method: each page has a stamp. Who has taken a page out of the file owns it and changes its stamp; who holds a
// verified pin reads the stamp twice. Bounded, seeded programs on three threads; invariants checked on the way.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "layout/break.h"
#include "support/file_fixture.h"
#include "support/task.h"

namespace holdfast {
namespace {

using layout::Break;
using layout::BreakOptions;
using mapping::Hold;
using mapping::PinnedRun;
using test::Task;

class Stress : public test::FileFixture, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  // Two units and some pages; the second unit is often one entry.
  static constexpr std::uint64_t kSize = 1100;
  static constexpr unsigned kSteps = 20000;

  std::uint64_t stamp(std::uint64_t index) const { return stamps_.at(index).load(std::memory_order_relaxed); }
  // Looks at a stamp for a while. No yield: on a busy machine each costs a turn of everybody else.
  bool changes(std::uint64_t index, std::uint64_t looks) const {
    const std::uint64_t before = stamp(index);
    for (std::uint64_t i = 0; i < looks; ++i) {
      if (stamp(index) != before) return true;
    }
    return false;
  }

  PageRange some_range(std::mt19937_64& random) const {
    const std::uint64_t first = random() % kSize;
    const std::uint64_t count = random() % 4 == 0 ? random() % 600 : random() % 6;
    return {PageIndex(first), PageIndex(std::min(kSize, first + count + 1))};
  }

  // A fault: what read, write and windows do.
  void touch(std::uint64_t index, std::mt19937_64& random) {
    const auto hold = Hold::enter(*file_, pages_at(index), Deadline());
    if (random() % 4 == 0) {
      const std::uint64_t unit = PageIndex(index).align_down(kOrder2M).raw();
      const auto whole = Hold::try_enter(*file_, pages_at(unit, 512));
      if (whole) static_cast<void>(file_->insert(PageIndex(unit), page_of(unit), kOrder2M, Deadline()));
    }
    static_cast<void>(file_->insert(PageIndex(index), page_of(index), kOrder4K, Deadline()));
  }

  bool pinner(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<PinnedRun> runs;
    for (unsigned step = 0; step < kSteps; ++step) {
      const PageRange range = some_range(random);
      runs.clear();
      const auto result = file_->try_pin(range, runs);
      if (result.outcome == PinOutcome::absent) touch(result.at.raw(), random);
      if (result.outcome != PinOutcome::pinned) continue;
      ++pinned_;
      const std::uint64_t probe = range.first.raw() + random() % range.count().raw();
      if (changes(probe, random() % 1000)) ++changed_;
      for (const PinnedRun& run : runs) unpin(run);
    }
    return true;
  }

  bool breaker(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (unsigned step = 0; step < kSteps / 8; ++step) {
      const PageRange range = some_range(random);
      const bool detaches = random() % 4 == 0;
      auto one = Break::wait(*file_, range, {detaches ? OnPinned::detach : OnPinned::wait, Deadline()});
      if (!one) return false;
      for (;;) {
        auto commit = one->commit();
        if (!commit) {
          if (!one->again_wait()) return false;
          continue;
        }
        const std::uint64_t first = range.first.raw();
        std::vector<bool> busy(range.count().raw(), false);
        for (const auto& run : commit->busy(range.first, page_of(first), range.count())) {
          for (std::uint64_t i = 0; i < run.count.raw(); ++i) busy.at(run.index.raw() - first + i) = true;
        }
        for (std::uint64_t i = 0; i < busy.size(); ++i) {
          if (!busy[i]) stamps_.at(first + i).fetch_add(1, std::memory_order_relaxed);
        }
        // In a file system a busy block goes to quarantine and another one comes in its place. Here the entry comes
        // back to the same page, so it waits for the pins that are left instead.
        commit->remove_entries();
        while (detaches && map_->first_busy(page_of(first), range.count()) != page_of(range.end.raw())) {
          std::this_thread::yield();
        }
        break;
      }
      if (step % 16 == 0) {
        if (const auto broken = file_->check()) {
          ADD_FAILURE() << *broken;
          return false;
        }
      }
    }
    return true;
  }

  bool former(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (unsigned step = 0; step < kSteps; ++step) {
      if (step % 64 == 0) {
        for (std::uint64_t i = 0; i < 512; ++i) touch(512 + i, random);
        if (file_->try_form_unit(PageIndex(512), page_of(512), kOrder2M)) ++formed_;
      }
      const std::uint64_t index = random() % kSize;
      const auto hold = Hold::enter(*file_, pages_at(index), Deadline());
      // A copy owns its bytes against a commit as a pin does.
      if (changes(index, random() % 300) && !hold->overrun()) ++changed_;
    }
    return true;
  }

  std::array<std::atomic<std::uint64_t>, kSize> stamps_{};
  std::atomic<std::uint64_t> changed_{0};
  std::atomic<std::uint64_t> pinned_{0};
  std::atomic<std::uint64_t> formed_{0};
};

INSTANTIATE_TEST_SUITE_P(Seeds, Stress, ::testing::Range(std::uint64_t{1}, std::uint64_t{5}));

TEST_P(Stress, NothingChangesUnderAPin) {
  const std::uint64_t seed = GetParam();
  Task pins([&] { return pinner(seed); });
  Task breaks([&] { return breaker(seed + 100); });
  Task forms([&] { return former(seed + 200); });
  EXPECT_TRUE(pins.get() && breaks.get() && forms.get());
  EXPECT_EQ(changed_.load(), 0U) << "bytes changed under a pin or a copy";
  EXPECT_GT(pinned_.load(), 0U);
  for (std::uint64_t i = 0; i < kSize; ++i) {
    ASSERT_TRUE(map_->idle(page_of(i))) << i;
  }
}

}  // namespace
}  // namespace holdfast
