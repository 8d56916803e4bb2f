// Goal: an id names its owner from add to remove and nobody else for long after; remove outlasts every upcall. Method:
// adds and removes past the resting slots, and a lookup held open while another thread removes.
#include "pagemap/owner_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/epoch.h"
#include "pagemap/pagemap.h"

namespace holdfast::pagemap {
namespace {

struct Owner final : PageOwner {
  void last_put(Pfn /*first*/, Order /*order*/) noexcept override {}
};

PageOwner* find(const OwnerTable& table, OwnerId id) {
  const epoch::Guard guard;
  return table.find(id);
}

TEST(OwnerTable, FindsWhatWasAdded) {
  OwnerTable table;
  std::vector<Owner> owners(10'000);  // more than one chunk
  std::vector<OwnerId> ids;
  for (Owner& owner : owners) ids.push_back(table.add(owner));
  for (std::size_t i = 0; i < owners.size(); ++i) ASSERT_EQ(find(table, ids[i]), &owners[i]);
  EXPECT_EQ(std::set<OwnerId>(ids.begin(), ids.end()).size(), owners.size());
  EXPECT_EQ(find(table, 0), nullptr) << "0 is none";
}

TEST(OwnerTable, AnIdIsNotReusedSoon) {
  OwnerTable table;
  Owner owner;
  std::set<OwnerId> seen;
  // Beyond the slots that rest: each is used several times.
  for (int i = 0; i < 20'000; ++i) {
    const OwnerId id = table.add(owner);
    ASSERT_NE(id, 0U);
    ASSERT_TRUE(seen.insert(id).second) << i;
    table.remove(id);
    ASSERT_EQ(find(table, id), nullptr);
  }
}

TEST(OwnerTable, RemoveWaitsForTheUpcall) {
  OwnerTable table;
  const auto owner = std::make_unique<Owner>();
  const OwnerId id = table.add(*owner);
  std::promise<void> found;
  std::promise<void> finish;
  std::thread upcall([&] {
    const epoch::Guard guard;
    EXPECT_EQ(table.find(id), owner.get());
    found.set_value();
    finish.get_future().wait();
  });
  found.get_future().wait();
  std::atomic<bool> removed{false};
  std::thread remover([&] {
    table.remove(id);
    removed.store(true);
  });
  // From the removal on nobody new finds it, and yet remove does not return.
  while (find(table, id) != nullptr) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) {
    std::this_thread::yield();
    ASSERT_FALSE(removed.load());
  }
  finish.set_value();
  upcall.join();
  remover.join();
}

TEST(OwnerTable, OwnersGoWhileTheyAreLookedUp) {
  // AddressSanitizer sees a lookup that outlives its owner.
  struct Marked final : PageOwner {
    void last_put(Pfn /*first*/, Order /*order*/) noexcept override { ASSERT_EQ(alive, 42); }
    int alive = 42;
  };
  OwnerTable table;
  std::atomic<OwnerId> current{0};
  std::atomic<bool> stop{false};
  std::thread caller([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      const epoch::Guard guard;
      if (PageOwner* const owner = table.find(current.load(std::memory_order_relaxed)))
        owner->last_put(Pfn(0), Order());
    }
  });
  const Deadline end = Deadline::after(std::chrono::milliseconds(500));
  for (int i = 0; i < 20'000 && !end.passed(); ++i) {
    const auto owner = std::make_unique<Marked>();
    const OwnerId id = table.add(*owner);
    current.store(id, std::memory_order_relaxed);
    table.remove(id);
  }
  stop.store(true);
  caller.join();
}

TEST(OwnerTableDeathTest, RemovingTwiceIsRefused) {
  OwnerTable table;
  Owner owner;
  const OwnerId id = table.add(owner);
  table.remove(id);
  EXPECT_DEATH(table.remove(id), "its slot names");
}

}  // namespace
}  // namespace holdfast::pagemap
