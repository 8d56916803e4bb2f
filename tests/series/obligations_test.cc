// Goal: each of the 18 patches of "Fix the DAX-gup mistake" as an obligation that this code meets (docs/series.md).
// Method: one test a patch, on the layers where the obligation is met. For each there is a change of the sources in
// tests/series/bugs that breaks it, with which its test must fail.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include <holdfast/raw_device.h>

#include "layout/break.h"
#include "layout/final.h"
#include "layout/lease.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/memory_pool.h"
#include "support/task.h"

// What a program that is linked from an archive asks for, so that these tests are in it.
extern "C" const int holdfast_series;
const int holdfast_series = 0;

namespace holdfast {
namespace {

using namespace std::chrono_literals;
using layout::Break;
using layout::BreakOptions;
using mapping::Entry;
using mapping::EntryMark;
using mapping::PinnedRun;
using pagemap::TakeOutcome;
using test::MarkCount;
using test::Task;

class Series : public test::FileFixture {
 protected:
  // The deadline bounds what a broken wake costs; nothing here waits so long.
  int break_error(PageRange range, OnPinned on_pinned = OnPinned::wait) {
    const Result<Break> broken = Break::wait(*file_, range, {on_pinned, Deadline::after(3s)});
    return broken ? 0 : broken.error().code();
  }
};

TEST_F(Series, P01_WaitAndWakeAreOfThePage) {
  for (const Order order : {kOrder4K, kOrder2M}) {
    insert(512, order);
    const PinnedRun run = pinned(512);
    MarkCount sleeps("layout.break.sleeps");
    Task breaker([&] { return break_error(pages_at(512)); });
    ASSERT_TRUE(sleeps.wait_until(1));
    const auto start = std::chrono::steady_clock::now();
    unpin(run);
    EXPECT_EQ(breaker.get(), 0);
    // A deadline looks once more before it gives up: without the wake this takes all of it.
    EXPECT_LT(std::chrono::steady_clock::now() - start, 2s) << "the wake went elsewhere";
    static_cast<void>(file_->zap(kWhole));
    file_->remove(kWhole);
  }
}

TEST_F(Series, P02_IdleIsOneQuestion) {
  insert(0, kOrder1G);
  const std::uint64_t gigabyte = kOrder1G.pages().raw();
  insert(gigabyte, Pfn(0), kOrder2M);
  insert(gigabyte + 512, Pfn(512), kOrder4K);
  const PinnedRun large = pinned(7);
  const PinnedRun middle = pinned(gigabyte + 7);
  const PinnedRun small = pinned(gigabyte + 512);
  for (const Pfn page : {page_of(0), page_of(7), page_of(gigabyte - 1), Pfn(0), Pfn(511), Pfn(512)}) {
    EXPECT_FALSE(map_->idle(page)) << page.raw();
  }
  EXPECT_TRUE(map_->idle(Pfn(513)));
  for (const PinnedRun& run : {large, middle, small}) unpin(run);
  for (const Pfn page : {page_of(7), Pfn(511), Pfn(512)}) EXPECT_TRUE(map_->idle(page)) << page.raw();
}

TEST_F(Series, P03_AFileThatNobodyMapsIsLookedAtToo) {
  insert(5);
  const test::IdentifiedPin held(*file_, PageIndex(5), "dma");
  ASSERT_TRUE(held.taken());
  ASSERT_TRUE(file_->first_pinned(kWhole)) << "the file was not looked at";
  EXPECT_EQ(break_error(kWhole, OnPinned::fail), EBUSY);
}

using SeriesFiles = test::MemoryPool;

TEST_F(SeriesFiles, P04_EvictionLeavesPinnedBlocksAlone) {
  start();
  const test::Bytes bytes = test::pattern(64 * KiB, 1);
  std::optional<Pin> held;
  {
    const FilePtr file = open("/a");
    write(file, 0, bytes);
    held.emplace(pin(file, 0, bytes.size()));
    ASSERT_TRUE(unlink("/a"));
  }
  settle();
  // Everything that can be had is written over.
  const FilePtr filler = open("/b");
  const test::Bytes other = test::pattern(64 * KiB, 2);
  for (std::uint64_t at = 0; free_pages() > 32; at += other.size()) write(filler, at, other);
  const Segment& segment = held->segments().front();
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(segment.length), segment.address))
      << "a pinned block was given away";
  const std::uint64_t before = free_pages();
  held.reset();
  settle();
  EXPECT_EQ(free_pages(), before + bytes.size() / kPageBytes);
}

TEST_F(Series, P05_BreaksKnowTheirReasonAndTheFinalOneNeverFails) {
  std::optional<RecallReason> reason;
  const auto lease = [&] {
    reason.reset();
    layout::Lease one =
        layout::Lease::grant(*file_, pages_at(0, 4), {"peer", 0ns, [&](RecallReason why) { reason = why; }}).value();
    one.arm();
    return one;
  };
  insert(0);
  const test::IdentifiedPin held(*file_, PageIndex(0), "dma");
  {
    const layout::Lease one = lease();
    EXPECT_TRUE(layout::recall_for_write(*file_, pages_at(1)));
    EXPECT_EQ(reason, RecallReason::write);
  }
  {
    const layout::Lease one = lease();
    EXPECT_EQ(break_error(pages_at(3), OnPinned::fail), EBUSY);
    EXPECT_EQ(reason, RecallReason::unmap);
  }
  const layout::Lease one = lease();
  layout::break_final(*file_).tell();
  EXPECT_EQ(reason, RecallReason::final);
  EXPECT_EQ(file_->entry_pages(), PageCount(0));
  EXPECT_EQ(pins(0), 1U) << "who holds the page keeps it";
}

TEST_F(Series, P06_ZapDropsTheReferenceOnceAndNamesABusyPage) {
  insert_pages(0, 4);
  const PinnedRun run = pinned(2);
  for (unsigned again = 0; again < 3; ++again) {
    const auto busy = file_->zap(kWhole);
    ASSERT_TRUE(busy);
    EXPECT_EQ(busy->index, PageIndex(2));
    EXPECT_EQ(map_->refcount(page_of(2)), 1U);
    EXPECT_EQ(map_->refcount(page_of(1)), 0U);
  }
  unpin(run);
  EXPECT_FALSE(file_->zap(kWhole));
}

TEST_F(Series, P07_AnInsertThatFailsLeavesTheEntryAsItWas) {
  const Pfn full = page_of(5);
  for (unsigned i = 0; i < 127; ++i) ASSERT_TRUE(map_->track(full, kOrder4K, file_->owner_id(), PageIndex(7)));
  {
    const auto hold = mapping::Hold::enter(*file_, pages_at(5), Deadline());
    const auto failed = file_->insert(PageIndex(5), full, kOrder4K, Deadline());
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code(), EMLINK);
    EXPECT_TRUE(lookup(5).none());
    // A hole that was read before: its ZERO entry stays, unlocked.
    {
      auto locked = file_->lock_entry(PageIndex(5), kOrder4K, Deadline()).value();
      locked.set_zero();
    }
    EXPECT_FALSE(file_->insert(PageIndex(5), full, kOrder4K, Deadline()));
    EXPECT_TRUE(lookup(5).is_zero());
    EXPECT_FALSE(lookup(5).locked());
  }
  for (unsigned i = 0; i < 127; ++i) map_->untrack(full, kOrder4K);
}

TEST_F(Series, P08_P09_TheCallerBringsPageOrderAndFlags) {
  const auto hold = mapping::Hold::enter(*file_, kWhole, Deadline());
  ASSERT_TRUE(file_->insert(PageIndex(512), Pfn(1024), kOrder2M, Deadline()));
  ASSERT_TRUE(file_->insert(PageIndex(3), Pfn(77), kOrder4K, Deadline(), mapping::Sharing::shared));
  EXPECT_EQ(lookup(600), Entry::real(Pfn(1024), kOrder2M));
  EXPECT_EQ(lookup(3), Entry::real(Pfn(77), kOrder4K, mapping::Sharing::shared));
  // The index of every page of a unit is that of its start (the series rounded it up).
  EXPECT_EQ(map_->index(Pfn(1024), kOrder2M), PageIndex(512));
  { const auto dirty = file_->mark_dirty(PageIndex(700), Deadline()).value(); }
  EXPECT_EQ(file_->first_marked(kWhole, EntryMark::dirty)->index, PageIndex(512));
}

TEST_F(Series, P10_APageInUseHoldsTheDevice) {
  struct Keeper final : pagemap::DeviceKeeper {
    void drained() noexcept override { ++times; }
    unsigned times = 0;
  } keeper;
  auto map = pagemap::PageMap::create(PageCount(1024), &keeper).value();
  mapping::Mapping file(*map, owner_, {7, 20});
  const auto hold = mapping::Hold::enter(file, kWhole, Deadline());
  ASSERT_TRUE(file.insert(PageIndex(1), Pfn(1), kOrder4K, Deadline()));
  ASSERT_TRUE(file.insert(PageIndex(512), Pfn(512), kOrder2M, Deadline()));
  EXPECT_EQ(map->references(), 2U) << "one for each unit";
  map->close();
  EXPECT_EQ(file.insert(PageIndex(2), Pfn(2), kOrder4K, Deadline()).error().code(), ENODEV);
  map->release_creator();
  EXPECT_EQ(keeper.times, 0U) << "the device went under pages in use";
  static_cast<void>(file.zap(kWhole));
  EXPECT_EQ(keeper.times, 1U) << "nothing is in use, and the device is held";
  file.remove(kWhole);
}

TEST_F(Series, P12_TheEntryLayerKnowsNoFileSystem) {
  std::ifstream layers(HOLDFAST_SOURCE_DIR "/cmake/layers.txt");
  unsigned found = 0;
  for (std::string line; std::getline(layers, line);) {
    const bool below = line.rfind("mapping:", 0) == 0 || line.rfind("window:", 0) == 0 || line.rfind("layout:", 0) == 0;
    const bool above = line.rfind("filesystem:", 0) == 0 || line.rfind("devdax:", 0) == 0;
    if (below) {
      EXPECT_EQ(line.find("filesystem"), std::string::npos) << line;
      EXPECT_EQ(line.find("devdax"), std::string::npos) << line;
    }
    if (above) {
      EXPECT_NE(line.find("mapping"), std::string::npos) << line;
    }
    found += below || above ? 1 : 0;
  }
  EXPECT_EQ(found, 5U);
}

TEST_F(Series, P13_AUnitOf2MiBHasOneCount) {
  insert(512, kOrder2M);
  EXPECT_EQ(map_->references(), 1U);
  const PinnedRun run = pinned(512 + 300);
  EXPECT_EQ(run.order, kOrder2M);
  EXPECT_EQ(pins(512 + 300, kOrder2M), 1U);
  EXPECT_EQ(map_->read(page_of(512 + 300), kOrder4K).raw, 0U) << "a page of it was counted, too";
  const auto busy = file_->zap(pages_at(512 + 3));
  EXPECT_TRUE(busy && busy->pfn == page_of(512)) << "the wait key is the unit's";
  unpin(run);
}

TEST_F(Series, P14_AUnitOf1GiBHasOneCount) {
  insert(0, kOrder1G);
  EXPECT_EQ(map_->references(), 1U);
  const test::IdentifiedPin held(*file_, PageIndex(100000), "dma");
  EXPECT_EQ(map_->read(page_of(0), kOrder1G).pins(), 1U);
  EXPECT_EQ(map_->read(page_of(0), kOrder2M).raw, 0U);
  const auto busy = file_->first_pinned(pages_at(5));
  ASSERT_TRUE(busy) << "a pin of the unit is a pin of each page";
  EXPECT_EQ(busy->pfn, page_of(0));
  EXPECT_EQ(busy->order, kOrder1G);
}

TEST_F(Series, P15_TheRemovalOfARawDeviceWaitsForItsPins) {
  RawDevice raw = RawDevice::open(Device::memory({.size = 4 * MiB}).value(), {.unit = PageSize::huge_2m}).value();
  Pin held = raw.pin(2 * MiB, 2 * MiB, {.access = Access::write, .purpose = "rdma write"}).value();
  MarkCount sleeps("layout.break.sleeps");
  std::atomic<bool> released{false};
  Task remover([&] {
    const Status removed = raw.remove({.deadline = 3s});
    return std::pair(removed ? 0 : removed.error().code(), released.load());
  });
  EXPECT_TRUE(sleeps.wait_until(1)) << "the removal did not wait for a pin";
  released = true;
  held.release();
  EXPECT_EQ(remover.get(), std::pair(0, true));
  const Result<Pin> late = raw.pin(0, 2 * MiB);
  EXPECT_EQ(late ? 0 : late.error().code(), ENODEV);
}

TEST_F(Series, P16_APageThatNobodyTrackedCannotBePinned) {
  for (const Order order : {kOrder4K, kOrder2M, kOrder1G}) {
    EXPECT_EQ(map_->read(page_of(0), order).raw, 0U);
    EXPECT_EQ(map_->try_pin(page_of(0), order), TakeOutcome::untracked);
  }
  insert(5);
  static_cast<void>(file_->zap(kWhole));
  EXPECT_EQ(map_->try_pin(page_of(5), kOrder4K), TakeOutcome::untracked);
  EXPECT_EQ(map_->refcount(page_of(5)), 0U) << "a page that nobody uses is at zero again";
}

TEST_F(Series, P17_OnlyTheLastPutDoesMoreThanCount) {
  insert(5);
  const PinnedRun first = pinned(5);
  const PinnedRun second = pinned(5);
  unpin(first);
  const PinnedRun third = pinned(5);
  static_cast<void>(file_->zap(kWhole));
  unpin(second);
  EXPECT_TRUE(owner_.puts().empty());
  unpin(third);
  EXPECT_EQ(owner_.puts().size(), 1U);
}

TEST_F(Series, P18_APinAsksNothingOfTheDevice) {
  insert_pages(5, 3);
  const std::uint64_t before = map_->references();
  map_->close();
  std::vector<PinnedRun> runs;
  EXPECT_EQ(file_->try_pin(pages_at(5, 3), runs).outcome, PinOutcome::pinned) << "what is tracked can be pinned";
  EXPECT_EQ(map_->references(), before) << "and a pin of it takes no reference of the device";
  for (const PinnedRun& run : runs) unpin(run);
}

}  // namespace
}  // namespace holdfast
