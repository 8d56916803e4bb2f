// Goal: every flush instruction that the CPU has runs over any range without changing it or touching a page beyond it.
// Method: ranges that end at an inaccessible page; whether memory is persistent cannot be seen from here.
#include "device/persist.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "base/units.h"

namespace holdfast::device {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::uintptr_t> lines(std::uintptr_t begin, std::size_t length) {
  std::vector<std::uintptr_t> found;
  for_each_line(reinterpret_cast<const void*>(begin), length, [&found](std::uintptr_t line) { found.push_back(line); });
  return found;
}

TEST(Persist, VisitsEveryLineOfTheRangeOnce) {
  EXPECT_THAT(lines(0x1000, 0), IsEmpty());
  EXPECT_THAT(lines(0x103F, 0), IsEmpty());
  EXPECT_THAT(lines(0x1000, 64), ElementsAre(0x1000));
  EXPECT_THAT(lines(0x1000, 65), ElementsAre(0x1000, 0x1040));
  EXPECT_THAT(lines(0x103F, 2), ElementsAre(0x1000, 0x1040));
  EXPECT_THAT(lines(0x1001, 127), ElementsAre(0x1000, 0x1040));
}

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
