// Goal: after a power failure at any fence of a few random programs, a mount and e2fsck bring back a whole file system
// with what was synced. Method: the crash explorer (support/crash_explorer.h) for seconds, with seeds that reach what
// the bugs in tests/sim/bugs break: each of these changes of the sources must be noticed here. tests/crash runs it for
// long.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "support/crash_explorer.h"

// What a program that is linked from an archive asks for, so that these tests are in it.
extern "C" const int holdfast_crash;
const int holdfast_crash = 0;

namespace holdfast::test {
namespace {

void explore(CrashOptions options, unsigned seed) {
  const char* const other = std::getenv("HOLDFAST_SEED");
  options.seed = other == nullptr ? seed : std::strtoull(other, nullptr, 10);
  options.read_repaired_one_in = 2;
  const CrashOutcome outcome = explore_crashes(options);
  std::cout << summary(outcome) << '\n';
  EXPECT_EQ(outcome.failures, 0U) << "found with " << outcome.images_to_failure << " images\n" << outcome.report;
  EXPECT_GT(outcome.images, 20U);
}

const sim::ChoiceLimits kFew{.most = 5, .exhaustive_units = 2};

TEST(Crash, LinesAreRecovered) { explore({.medium = sim::Medium::lines, .steps = 30, .choices = kFew}, 1); }

TEST(Crash, PagesAreRecovered) { explore({.medium = sim::Medium::pages, .steps = 40, .choices = kFew}, 1); }

TEST(Crash, SectorsAreRecovered) {
  explore({.medium = sim::Medium::pages,
           .pools = {CrashPool::groups},
           .steps = 20,
           .choices = {.most = 5, .exhaustive_units = 2, .torn = true}},
          3);
}

TEST(Crash, BlocksThatWereMetadataAreRecovered) {
  explore({.medium = sim::Medium::pages, .mixes = {CrashMix::churn}, .steps = 12, .choices = kFew}, 3);
}

TEST(Crash, UpdatesInPlaceAreRecovered) {
  // On lines the library flushes such bytes when it writes them, on pages with the sync.
  explore({.medium = sim::Medium::pages, .mixes = {CrashMix::updates}, .steps = 12, .choices = kFew}, 1);
  explore({.medium = sim::Medium::lines, .mixes = {CrashMix::updates}, .steps = 12, .choices = kFew}, 1);
}

TEST(Crash, NamesAreRecovered) {
  explore({.medium = sim::Medium::lines,
           .pools = {CrashPool::groups},
           .mixes = {CrashMix::names},
           .steps = 40,
           .choices = kFew},
          1);
}

TEST(Crash, ClustersAreRecovered) {
  explore({.medium = sim::Medium::pages, .pools = {CrashPool::clusters}, .steps = 30, .choices = kFew}, 1);
}

TEST(Crash, LostMemoryIsRecovered) {
  explore({.medium = sim::Medium::lines,
           .pools = {CrashPool::ours, CrashPool::groups},
           .mixes = {CrashMix::losses},
           .programs = 2,
           .steps = 24,
           .choices = kFew},
          1);
}

// Through windows and pins, some of it flushed by the program itself, with no sync at all.
TEST(Crash, StoresOfProgramsAreThere) {
  explore({.medium = sim::Medium::lines,
           .pools = {CrashPool::ours},
           .mixes = {CrashMix::memory},
           .programs = 2,
           .steps = 24,
           .choices = kFew},
          2);
}

}  // namespace
}  // namespace holdfast::test
