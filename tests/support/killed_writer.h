// A process that works on a pool until it is killed, again and again: it writes and syncs files and says so, writes
// over and removes others, and has pins, of a file and in quarantine, into which a device (io_uring, reads past the
// page cache) writes all the time, so that requests are in flight at the kill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace holdfast::test {

// What the file of a number holds: a page and more.
std::vector<std::byte> bytes_of(int number);

class KilledWriter {
 public:
  // The pool is made in `directory`, with a small journal.
  KilledWriter(std::string directory, std::uint64_t seed);

  // One life and death, then a mount at once: what was said to be durable is there, new files beside it keep their
  // bytes while requests of the dead may still end, and e2fsck finds nothing. Failures are GoogleTest's.
  void round();
  int synced() const { return known_; }  // files that a process said are durable
  std::uint64_t rounds() const { return rounds_; }

 private:
  void kill_one();
  void look();

  const std::string pool_;
  const std::string source_;  // what the device reads
  std::mt19937_64 random_;
  int known_ = 0;
  std::uint64_t rounds_ = 0;
};

}  // namespace holdfast::test
