// Goal: what was said to be lost is found, and nothing else, whoever looks meanwhile; a bus error of our own copies is
// known by its address. Method: a model of one bit a page; readers beside a writer; memory whose file is empty.
#include "device/poison.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "base/fault_point.h"
#include "device/copy.h"
#include "device/device.h"
#include "support/hugetlb.h"
#include "support/skip.h"

namespace holdfast::device {
namespace {

PageRun run(std::uint64_t first, std::uint64_t count) { return {Pfn(first), PageCount(count)}; }

TEST(PoisonList, NothingIsLostAtFirst) {
  const PoisonList list;
  EXPECT_FALSE(list.any());
  EXPECT_FALSE(list.first_in(run(0, 1000)));
  EXPECT_TRUE(list.all().empty());
}

TEST(PoisonList, NeighboursBecomeOne) {
  PoisonList list;
  EXPECT_TRUE(list.add(run(10, 2)));
  EXPECT_TRUE(list.add(run(14, 2)));
  EXPECT_TRUE(list.add(run(12, 2)));
  EXPECT_EQ(list.all(), std::vector{run(10, 6)});
  EXPECT_FALSE(list.add(run(11, 3))) << "it was known";
  EXPECT_FALSE(list.add(run(20, 0)));
  EXPECT_EQ(list.first_in(run(0, 12)), run(10, 2));
  EXPECT_EQ(list.first_in(run(15, 100)), run(15, 1));
  EXPECT_FALSE(list.first_in(run(16, 100)));
  EXPECT_FALSE(list.first_in(run(0, 10)));
}

TEST(PoisonList, IsWhatAModelSays) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    PoisonList list;
    std::set<std::uint64_t> model;
    for (int step = 0; step < 30; ++step) {
      const PageRun added = run(random() % 200, random() % 12);
      bool news = false;
      for (Pfn page = added.first; page < added.end(); page += PageCount(1)) {
        news = model.insert(page.raw()).second || news;
      }
      ASSERT_EQ(list.add(added), news);
      const PageRun asked = run(random() % 200, random() % 40);
      const auto found = list.first_in(asked);
      std::uint64_t first = asked.first.raw();
      while (first < asked.end().raw() && !model.contains(first)) ++first;
      std::uint64_t end = first;
      while (end < asked.end().raw() && model.contains(end)) ++end;
      ASSERT_EQ(found.has_value(), first < end);
      if (found) {
        ASSERT_EQ(*found, run(first, end - first));
      }
    }
    const std::vector<PageRun> all = list.all();
    std::size_t pages = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      pages += all[i].count.raw();
      ASSERT_TRUE(i == 0 || all[i - 1].end() < all[i].first) << "L1";
    }
    ASSERT_EQ(pages, model.size());
  }
}

TEST(PoisonList, WhatIsLostStaysSoForReadersBesideAWriter) {
  PoisonList list;
  list.add(run(500, 1));
  std::atomic<bool> done{false};
  std::atomic<bool> missed{false};
  std::thread reader([&] {
    while (!done) {
      if (list.first_in(run(490, 30)) == std::nullopt || list.all().empty()) missed = true;
    }
  });
  for (std::uint64_t page = 0; page < 1000; page += 2) list.add(run(page, 1));
  done = true;
  reader.join();
  EXPECT_FALSE(missed);
}

class LostMemory : public ::testing::Test {
 protected:
  void TearDown() override { fault_point::disarm_all(); }
  // A touch of the page is a bus error from now on.
  static void make_dead(std::byte* page) {
    const int empty = memfd_create("empty", MFD_CLOEXEC);
    ASSERT_NE(mmap(page, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, empty, 0), MAP_FAILED);
    close(empty);
  }
};

TEST_F(LostMemory, ACopyKnowsWhereItFailed) {
  const auto device = Device::create_memory({.size = 4 * MiB}).value();
  std::byte* const page = device->at(Pfn(5));
  make_dead(page);
  std::vector<std::byte> to(3 * kPageBytes);
  ASSERT_EQ(load(to.data(), device->at(Pfn(4)), to.size()), CopyOutcome::bus_error);
  const BusError met = last_bus_error();
  EXPECT_GE(met.address, page);
  EXPECT_LT(met.address, page + kPageBytes);
  EXPECT_FALSE(met.memory_lost) << "a page that is not there is no machine check";
  EXPECT_FALSE(device->learn_of(met));
  EXPECT_FALSE(device->poison().any());
}

TEST_F(LostMemory, AMachineCheckIsLearntOfItsPage) {
  const auto device = Device::create_memory({.size = 4 * MiB}).value();
  const auto other = Device::create_memory({.size = 4 * MiB}).value();
  const BusError met{device->at(Pfn(7)) + 100, true};
  EXPECT_FALSE(other->learn_of(met)) << "it is not its memory";
  EXPECT_TRUE(device->learn_of(met));
  EXPECT_FALSE(device->learn_of(met)) << "that is known";
  EXPECT_EQ(device->poison().all(), std::vector{run(7, 1)});
}

TEST_F(LostMemory, AHugePageIsLostWhole) {
  const test::HugePages pages(2);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages.missing());
  const auto device = Device::create_memory({.size = 4 * MiB, .page_size = PageSize::huge_2m}).value();
  EXPECT_TRUE(device->lose(Pfn(600), PageCount(1)));
  EXPECT_EQ(device->poison().all(), std::vector{run(512, 512)});
}

}  // namespace
}  // namespace holdfast::device
