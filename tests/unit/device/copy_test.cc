// Goal: copy and zero do what memcpy and memset do, for every short length and alignment and across the loops' seams,
// and turn a bus error anywhere in the range into an outcome without touching a byte outside it. Method: exhaustive
// comparison with a model; a mapping whose second page lies past the end of its file.
#include "device/copy.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "base/units.h"
#include "device/bus_error.h"
#include "device/copy_loops.h"
#include "device/file_descriptor.h"

namespace holdfast::device {
namespace {

constexpr std::byte kGuard{0xA5};

struct Loops {
  const char* name;
  int (*copy)(void*, const void*, std::size_t);
  int (*zero)(void*, std::size_t);
};

// The families that this CPU can run.
std::vector<Loops> families() {
  std::vector<Loops> all{{"string", hf_copy_string, hf_zero_string}};
  if (__builtin_cpu_supports("avx")) all.push_back({"avx", hf_copy_avx, hf_zero_avx});
  return all;
}

class CopyLoops : public testing::TestWithParam<Loops> {};

std::vector<std::byte> pattern(std::size_t length) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 7 + (i >> 8) + 1);
  return bytes;
}

std::vector<std::size_t> interesting_lengths() {
  std::vector<std::size_t> lengths(420);
  std::iota(lengths.begin(), lengths.end(), 0);
  for (std::size_t near : {512U, 1024U, 4096U, 65536U}) {
    for (std::size_t length = near - 2; length <= near + 2; ++length) lengths.push_back(length);
  }
  return lengths;
}

TEST_P(CopyLoops, CopyEqualsMemcpyForEveryLengthAndAlignment) {
  const std::vector<std::byte> source = pattern(66 * KiB);
  std::vector<std::byte> target(66 * KiB);
  for (const std::size_t length : interesting_lengths()) {
    for (const std::size_t to_offset : {0U, 1U, 7U, 31U, 32U, 63U}) {
      for (const std::size_t from_offset : {0U, 3U, 32U}) {
        const std::size_t checked = to_offset + length + 64;
        std::fill_n(target.begin(), checked, kGuard);
        ASSERT_EQ(GetParam().copy(target.data() + to_offset, source.data() + from_offset, length), 0);
        ASSERT_TRUE(std::equal(source.begin() + static_cast<std::ptrdiff_t>(from_offset),
                               source.begin() + static_cast<std::ptrdiff_t>(from_offset + length),
                               target.begin() + static_cast<std::ptrdiff_t>(to_offset)))
            << "length " << length << " to +" << to_offset << " from +" << from_offset;
        for (std::size_t i = 0; i < checked; ++i) {
          if (i >= to_offset && i < to_offset + length) continue;
          ASSERT_EQ(target[i], kGuard) << "byte " << i << " outside length " << length << " to +" << to_offset;
        }
      }
    }
  }
}

TEST_P(CopyLoops, ZeroEqualsMemsetForEveryLengthAndAlignment) {
  std::vector<std::byte> target(66 * KiB);
  for (const std::size_t length : interesting_lengths()) {
    for (std::size_t offset = 0; offset < 66; ++offset) {
      if (length > 420 && offset % 13 != 0) continue;
      const std::size_t checked = offset + length + 64;
      std::fill_n(target.begin(), checked, kGuard);
      ASSERT_EQ(GetParam().zero(target.data() + offset, length), 0);
      for (std::size_t i = 0; i < checked; ++i) {
        const bool inside = i >= offset && i < offset + length;
        ASSERT_EQ(target[i], inside ? std::byte{0} : kGuard)
            << "byte " << i << ", length " << length << " at +" << offset;
      }
    }
  }
}

// One good page, and one past the end of the file.
class CutMapping {
 public:
  CutMapping() : file_(memfd_create("cut", 0)) {
    EXPECT_EQ(ftruncate(file_.get(), kPageBytes), 0);
    void* memory = mmap(nullptr, 2 * kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    EXPECT_NE(memory, MAP_FAILED);
    begin_ = static_cast<std::byte*>(memory);
  }
  ~CutMapping() { munmap(begin_, 2 * kPageBytes); }
  CutMapping(const CutMapping&) = delete;
  CutMapping& operator=(const CutMapping&) = delete;
  std::byte* begin() const { return begin_; }
  std::byte* cut() const { return begin_ + kPageBytes; }

 private:
  FileDescriptor file_;
  std::byte* begin_;
};

TEST_P(CopyLoops, ABusErrorAnywhereInTheRangeIsReported) {
  const CutMapping mapping;
  const BusErrorRange range(mapping.begin(), 2 * kPageBytes);
  const std::vector<std::byte> source = pattern(4 * KiB);
  std::vector<std::byte> target(4 * KiB);
  unsigned reported = 0;
  for (const std::size_t length : {1U, 2U, 3U, 5U, 12U, 24U, 48U, 100U, 129U, 300U, 1000U, 4000U}) {
    for (std::size_t beyond = 1; beyond <= length; beyond += 1 + length / 16) {
      std::byte* device = mapping.cut() + beyond - length;
      std::fill_n(mapping.begin(), kPageBytes, kGuard);
      std::fill(target.begin(), target.end(), kGuard);
      ASSERT_EQ(GetParam().copy(device, source.data(), length), 1) << length << " stored, " << beyond << " beyond";
      ASSERT_TRUE(std::all_of(mapping.begin(), device, [](std::byte b) { return b == kGuard; }));
      ASSERT_EQ(GetParam().copy(target.data(), device, length), 1) << length << " loaded, " << beyond << " beyond";
      ASSERT_TRUE(std::all_of(target.begin() + static_cast<std::ptrdiff_t>(length), target.end(),
                              [](std::byte b) { return b == kGuard; }));
      ASSERT_EQ(GetParam().zero(device, length), 1) << length << " zeroed, " << beyond << " beyond";
      ++reported;
    }
    ASSERT_EQ(GetParam().copy(mapping.cut() - length, source.data(), length), 0) << "up to the cut all is well";
  }
  EXPECT_GE(reported, 100U);
}

INSTANTIATE_TEST_SUITE_P(Families, CopyLoops, testing::ValuesIn(families()),
                         [](const auto& instance) { return instance.param.name; });

TEST(Copy, WorksAfterABusErrorAsBefore) {
  const CutMapping mapping;
  const BusErrorRange range(mapping.begin(), 2 * kPageBytes);
  const std::vector<std::byte> source = pattern(4 * KiB);
  for (int round = 0; round < 100; ++round) {
    ASSERT_EQ(device::copy(mapping.cut(), source.data(), kPageBytes), CopyOutcome::bus_error);
    ASSERT_EQ(device::zero(mapping.begin(), 2 * kPageBytes), CopyOutcome::bus_error);
    ASSERT_EQ(device::copy(mapping.begin(), source.data(), kPageBytes), CopyOutcome::done);
    ASSERT_EQ(std::memcmp(mapping.begin(), source.data(), kPageBytes), 0);
  }
}

TEST(Copy, StoreAndLoadAreCopies) {
  const CutMapping mapping;
  const BusErrorRange range(mapping.begin(), 2 * kPageBytes);
  const std::vector<std::byte> source = pattern(4 * KiB);
  std::vector<std::byte> target(4 * KiB);
  EXPECT_EQ(device::store(mapping.cut(), source.data(), kPageBytes), CopyOutcome::bus_error);
  EXPECT_EQ(device::load(target.data(), mapping.cut(), kPageBytes), CopyOutcome::bus_error);
  EXPECT_EQ(device::store(mapping.begin(), source.data(), kPageBytes), CopyOutcome::done);
  EXPECT_EQ(device::load(target.data(), mapping.begin(), kPageBytes), CopyOutcome::done);
  EXPECT_EQ(target, source);
}

// ThreadSanitizer fails this one where it is told of the page.
TEST(Copy, StoresAndLoadsOfOnePageAreNoRaceOfTheProgram) {
  const CutMapping mapping;
  std::thread storing([&] {
    const std::vector<std::byte> source = pattern(4 * KiB);
    for (int i = 0; i < 100; ++i) static_cast<void>(device::store(mapping.begin(), source.data(), kPageBytes));
  });
  std::vector<std::byte> target(4 * KiB);
  for (int i = 0; i < 100; ++i) static_cast<void>(device::load(target.data(), mapping.begin(), kPageBytes));
  storing.join();
  EXPECT_EQ(device::load(target.data(), mapping.begin(), kPageBytes), CopyOutcome::done);
  EXPECT_EQ(target, pattern(4 * KiB));
}

}  // namespace
}  // namespace holdfast::device
