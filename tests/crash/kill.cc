// Goal: a process that is killed at any moment, with transfers of a device in flight, loses nothing that was synced,
// and nobody else's bytes change. Method: support/killed_writer.h on a pool in memory and on one on a disk, one after
// the other, for HOLDFAST_SECONDS (60) in all; HOLDFAST_SEED.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "support/environment.h"
#include "support/killed_writer.h"
#include "support/scratch.h"
#include "support/skip.h"

namespace holdfast::test {
namespace {

void run(const char* where, const std::string& parent) {
  const std::chrono::duration<double> length(static_cast<double>(from_environment("HOLDFAST_SECONDS", 60)) / 2);
  const ScratchDirectory directory(parent);
  KilledWriter writer(directory.path(), from_environment("HOLDFAST_SEED", 1));
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < length && !::testing::Test::HasFailure()) writer.round();
  EXPECT_GT(writer.synced(), 0);
  fmt::print("{}: {} kills, {} files were said to be durable, {}\n", where, writer.rounds(), writer.synced(),
             ::testing::Test::HasFailure() ? "something was lost" : "nothing was lost");
}

TEST(Kill, InMemory) { run("memory", tmpfs_parent()); }

TEST(Kill, OnADisk) {
  if (disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no directory on a disk");
  run("disk", disk_parent());
}

}  // namespace
}  // namespace holdfast::test
