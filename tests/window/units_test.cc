// Goal: units of 2 MiB are what windows show where the carrier keeps them, and the kernel says so.
// Method: /proc/self/smaps counts what is mapped by one entry.
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "support/hugetlb.h"
#include "support/skip.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

// Bytes of the window that page-table entries of 2 MiB or more map.
std::uint64_t mapped_large(const Window& window) {
  std::ifstream smaps("/proc/self/smaps");
  const auto begin = reinterpret_cast<std::uintptr_t>(window.data());
  const std::uintptr_t end = begin + window.size();
  std::uint64_t kilobytes = 0;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t first = 0;
    std::uintptr_t last = 0;
    std::uint64_t value = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) {  // NOLINT(cert-err34-c): the kernel wrote it
      ours = first >= begin && last <= end;
    } else if (ours && (std::sscanf(line.c_str(), "ShmemPmdMapped: %lu kB", &value) == 1 ||    // NOLINT(cert-err34-c)
                        std::sscanf(line.c_str(), "Shared_Hugetlb: %lu kB", &value) == 1 ||    // NOLINT(cert-err34-c)
                        std::sscanf(line.c_str(), "Private_Hugetlb: %lu kB", &value) == 1)) {  // NOLINT(cert-err34-c)
      kilobytes += value;
    }
  }
  return kilobytes * KiB;
}

class Units : public WindowBed {
 protected:
  static constexpr std::uint64_t kFile = 64 * MiB;
  static void touch(const Window& window) {
    for (std::uint64_t at = 0; at < window.size(); at += 4 * KiB) window.data()[at] = std::byte{1};
  }
};

TEST_F(Units, OfMemoryThatTheKernelKeepsInUnits) {
  open_pool(Carriage::memory, 256 * MiB);
  File file = make_file("/a", "");
  file.allocate(0, kFile).value();
  const Window window = file.map(0, kFile).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows are mapped by the kernel");
  touch(window);
  if (mapped_large(window) == 0) HF_SKIP_CAPABILITY("huge-tmpfs", "memory is not kept in units");
  EXPECT_GE(mapped_large(window), kFile / 100 * 99);
}

TEST_F(Units, OfAFileThatGrewByAppends) {
  open_pool(Carriage::memory, 256 * MiB);
  File file = make_file("/a", "");
  const std::string piece = pattern(64 * KiB);
  for (std::uint64_t at = 0; at < kFile; at += piece.size()) {
    EXPECT_EQ(file.append(std::as_bytes(std::span(piece))).value(), at);
  }
  const Window window = file.map(0, kFile).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows are mapped by the kernel");
  touch(window);
  if (mapped_large(window) == 0) HF_SKIP_CAPABILITY("huge-tmpfs", "memory is not kept in units");
  // Its beginning was a small file's, which lies where small files do.
  EXPECT_GE(mapped_large(window), kFile - 2 * MiB);
}

TEST_F(Units, OfHugePages) {
  const HugePages pages(64);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages.missing());
  open_pool(Carriage::hugetlb, 128 * MiB);
  File file = make_file("/a", "");
  file.allocate(0, kFile).value();
  const Window window = file.map(0, kFile).value();
  touch(window);
  EXPECT_EQ(mapped_large(window), kFile);
  file.punch(2 * MiB, 2 * MiB).value();
  EXPECT_EQ(window.data()[2 * MiB], std::byte{0});
  EXPECT_EQ(window.data()[4 * MiB], std::byte{1});
  if (window.faults() == Faults::none) return;  // a hole that came later refuses stores
  window.data()[3 * MiB] = std::byte{2};
  EXPECT_EQ(contents(file, 3 * MiB, 1), "\2");
}

// A unit of which only a part has blocks cannot be shown: that is said, or a bus error, and never an endless fault.
TEST_F(Units, APartOfAHugePageIsRefused) {
  const HugePages pages(64);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages.missing());
  open_pool(Carriage::hugetlb, 64 * MiB);
  File file = make_file("/a", "");
  file.allocate(0, 3 * MiB, Allocate::keep_size).value();
  Window window = file.map(0, 4 * MiB).value();
  file.truncate(4 * MiB).value();
  const bool refused = dies_of_bus_error(window.data() + 2 * MiB);
  if (!refused) {
    EXPECT_EQ(window.data()[2 * MiB], std::byte{0});
  }
}

}  // namespace
}  // namespace holdfast::test
