// Huge pages for one test: raises the machine's pool if that is needed and allowed, and restores it.
#pragma once

#include <cstdint>
#include <string>

#include "base/units.h"

namespace holdfast::test {

// While it lives, no other test that uses this class changes the pool (a lock on the kernel's own file).
class HugePages {
 public:
  // Pages of 1 GiB are only used where they are free already: making one may take the kernel minutes.
  explicit HugePages(unsigned count, std::uint64_t page_bytes = 2 * MiB);
  ~HugePages();
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;

  // Empty when the pages are there; else why not.
  const std::string& missing() const { return missing_; }
  // Free pages that are promised to nobody, now.
  std::uint64_t available() const;

 private:
  std::string directory_;
  std::string missing_;
  std::uint64_t restore_ = 0;
  bool raised_ = false;
  int lock_ = -1;
};

}  // namespace holdfast::test
