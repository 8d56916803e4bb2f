// Runs random programs on a recording device, cuts the image at every fence, and has every cut judged.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/recorder.h"
#include "support/crash_actor.h"

namespace holdfast::test {

// Who has made the pool.
enum class CrashPool : std::uint8_t {
  ours,         // one block group, so no second superblock
  groups,       // mke2fs: four groups
  orphan_file,  // and the orphans in a file
  clusters,     // ours, of clusters of 16 KiB
};

struct CrashOptions {
  sim::Medium medium = sim::Medium::lines;
  std::uint64_t seed = 1;
  std::vector<CrashPool> pools = {CrashPool::ours, CrashPool::groups, CrashPool::orphan_file};  // in turn
  std::vector<CrashMix> mixes = {CrashMix::everything};                                         // in turn
  unsigned first = 0;     // number of the first program; each has a seed of its own, made of seed and number
  unsigned programs = 1;  // at most
  unsigned steps = 60;    // operations of each
  sim::ChoiceLimits choices;
  unsigned read_repaired_one_in = 1;  // of how many images that e2fsck repaired one is read, too
  unsigned judges = 2;                // threads
  std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max();
  std::string keep = {};  // a path for the image of the first failure
};

struct CrashOutcome {
  std::uint64_t programs = 0;
  std::uint64_t operations = 0;
  std::uint64_t fences = 0;
  std::uint64_t exhaustive = 0;  // of these, with all combinations
  std::uint64_t images = 0;
  std::uint64_t without_superblock = 0;  // of these, left to our mount alone
  std::uint64_t failures = 0;            // the first one ends the run
  std::uint64_t images_to_failure = 0;
  std::string report;  // of the first failure: what is wrong, the cut, and the program
};

CrashOutcome explore_crashes(const CrashOptions& options);

// A line of figures.
std::string summary(const CrashOutcome& outcome);

}  // namespace holdfast::test
