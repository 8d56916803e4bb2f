// Goal: wherever the power fails, a mount and, without us, e2fsck bring back a whole file system that holds what was
// synced, and of everything else what was there before or what was written, never another file's bytes. Method: random
// programs on a recording device (sim/recorder.h); at each fence the image is cut into what the medium may hold
// (sim/cut.h), and each cut is recovered twice and compared with a model (support/crash_judge.h). For HOLDFAST_SECONDS
// (60) in all; HOLDFAST_SEED repeats the programs, HOLDFAST_FIRST and HOLDFAST_PROGRAMS some of them, and
// HOLDFAST_STEPS (40) is their length. A failure prints its program, and HOLDFAST_KEEP is a path for its image.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <string>

#include "support/crash_explorer.h"
#include "support/environment.h"

namespace holdfast::test {
namespace {

struct Medium {
  const char* name;
  sim::Medium medium;
  bool torn;
  friend void PrintTo(const Medium& medium, std::ostream* out) { *out << medium.name; }
};

class Crash : public ::testing::TestWithParam<Medium> {};

TEST_P(Crash, WhateverIsLeftIsRecovered) {
  const Medium& medium = GetParam();
  CrashOptions options;
  options.medium = medium.medium;
  options.seed = from_environment("HOLDFAST_SEED", 1);
  options.first = static_cast<unsigned>(from_environment("HOLDFAST_FIRST", 0));
  options.programs = static_cast<unsigned>(from_environment("HOLDFAST_PROGRAMS", 1'000'000));
  options.steps = static_cast<unsigned>(from_environment("HOLDFAST_STEPS", 40));
  options.mixes = {CrashMix::everything, CrashMix::churn,  CrashMix::everything, CrashMix::updates,
                   CrashMix::names,      CrashMix::memory, CrashMix::losses};
  options.pools.push_back(CrashPool::clusters);
  options.choices = {.most = 12, .exhaustive_units = 3, .torn = medium.torn};
  options.until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(from_environment("HOLDFAST_SECONDS", 60) * 1000 / 4);
  const char* const keep = std::getenv("HOLDFAST_KEEP");
  if (keep != nullptr) options.keep = keep;
  const CrashOutcome outcome = explore_crashes(options);
  fmt::print("{}, seed {}: {}\n", medium.name, options.seed, summary(outcome));
  static_cast<void>(std::fflush(stdout));
  EXPECT_EQ(outcome.failures, 0U) << outcome.report;
  EXPECT_GT(outcome.images, 0U);
}

INSTANTIATE_TEST_SUITE_P(Media, Crash,
                         ::testing::Values(Medium{"lines", sim::Medium::lines, false},
                                           Medium{"words", sim::Medium::lines, true},
                                           Medium{"pages", sim::Medium::pages, false},
                                           Medium{"sectors", sim::Medium::pages, true}),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace holdfast::test
