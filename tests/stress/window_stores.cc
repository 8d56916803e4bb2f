// Goal: no store through a window is ever lost, and none reaches another file, whatever happens to the file meanwhile.
// Method: ten million random stores from two threads on each carrier (HOLDFAST_STORES), beside punches, refused
// punches, truncates, growth, writes, other windows and a file that takes up the freed blocks; then every word is
// compared in the device's memory, through the file and through the window.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <tuple>

#include "support/environment.h"
#include "support/hugetlb.h"
#include "support/random_stores.h"
#include "support/skip.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

using Case = std::tuple<Carriage, ServeFaults>;

const char* to_string(ServeFaults faults) { return faults == ServeFaults::thread ? "thread" : "in_thread"; }

class WindowStores : public WindowBed, public ::testing::WithParamInterface<Case> {};

TEST_P(WindowStores, NoneIsLost) {
  const auto [carriage, faults] = GetParam();
  const bool huge = carriage == Carriage::hugetlb;
  std::optional<HugePages> pages;
  if (huge) {
    pages.emplace(64U);
    if (!pages->missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages->missing());
  }
  open_pool(carriage, huge ? 128 * MiB : 64 * MiB);
  const std::uint64_t seed = from_environment("HOLDFAST_SEED", 1);
  const StoreMix mix{.seed = seed,
                     .page_bytes = grain(),
                     .pages = huge ? std::uint64_t{16} : std::uint64_t{4096},
                     .faults = faults,
                     .stores = from_environment("HOLDFAST_STORES", 10'000'000) / 2,
                     .changes = from_environment("HOLDFAST_CHANGES", 40'000)};
  const auto start = std::chrono::steady_clock::now();
  const StoreCount count = random_stores(fs(), mix);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print(
      "{}, served by {}: {} stores in {:.1f} s, {} words compared, {} lost; {} changes ({} refused by a pin); {} bytes "
      "taken up "
      "by another file, {} wrong\n",
      to_string(carriage), to_string(faults), count.stores, took.count(), count.checked, count.lost, count.changes,
      count.refused, count.reused, count.strayed);
  EXPECT_EQ(count.lost, 0U) << count.first_lost << ", seed " << seed;
  EXPECT_EQ(count.strayed, 0U) << "seed " << seed;
}

INSTANTIATE_TEST_SUITE_P(Carriers, WindowStores,
                         ::testing::Combine(::testing::Values(Carriage::memory, Carriage::tmpfs_file,
                                                              Carriage::disk_file, Carriage::hugetlb),
                                            ::testing::Values(ServeFaults::thread, ServeFaults::in_thread)),
                         [](const auto& parameter) {
                           return std::string(to_string(std::get<0>(parameter.param))) + "_" +
                                  to_string(std::get<1>(parameter.param));
                         });

}  // namespace
}  // namespace holdfast::test
