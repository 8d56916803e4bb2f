// Goal: every flush instruction that the CPU has runs over any range without changing it or touching a page beyond it.
// Method: ranges that end at an inaccessible page; whether memory is persistent cannot be seen from here.
#include "device/persist.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/units.h"

namespace holdfast::device {
namespace {

TEST(Persist, FlushesExactlyTheLinesOfTheRange) {
  void* memory = mmap(nullptr, 2 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const page = static_cast<std::byte*>(memory);
  std::byte* const end = page + kPageBytes;
  ASSERT_EQ(mprotect(end, kPageBytes, PROT_NONE), 0);  // a flush of a line here would be SIGSEGV
  std::fill(page, end, std::byte{7});
  for (const LineFlush instruction : {LineFlush::clflush, LineFlush::clflushopt, LineFlush::clwb}) {
    if (instruction > line_flush()) continue;
    for (const std::size_t length : {0U, 1U, 63U, 64U, 65U, 4096U}) {
      flush_lines(end - length, length, instruction);
      drain();
    }
  }
  EXPECT_TRUE(std::all_of(page, end, [](std::byte b) { return b == std::byte{7}; }));
  munmap(memory, 2 * kPageBytes);
}

}  // namespace
}  // namespace holdfast::device
