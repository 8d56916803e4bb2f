// Goal: a process at its limit of mappings loses nothing: what may fail says ENOMEM and changes nothing, what must not
// fail does not, and once there is room again everything is as ever.
// Method: a child takes all mappings that it can get, by protecting every other page of a range.
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>

#include "support/child.h"
#include "support/pool_fixture.h"
#include "support/skip.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

constexpr std::uint64_t kPage = 4 * KiB;
constexpr std::uint64_t kPages = 256;
constexpr std::uint64_t kBytes = kPages * kPage;

class AllMappings {
 public:
  AllMappings() : at_(static_cast<std::byte*>(mmap(nullptr, kLength, PROT_NONE, kFlags, -1, 0))) {
    for (std::uint64_t page = 1; page < kLength / kPage; page += 2) {
      if (mprotect(at_ + page * kPage, kPage, PROT_READ) != 0) return;
    }
  }
  ~AllMappings() { munmap(at_, kLength); }
  AllMappings(const AllMappings&) = delete;
  AllMappings& operator=(const AllMappings&) = delete;

 private:
  static constexpr std::uint64_t kLength = std::uint64_t{300000} * kPage;
  static constexpr int kFlags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
  std::byte* const at_;
};

std::string at_the_limit(ServeFaults serve) {
  Device device = Device::memory({.size = 64 * MiB}).value();
  format(device, {}).value();
  Filesystem fs = Filesystem::mount(std::move(device)).value();
  File file = fs.open("/a", Open::read_write | Open::create).value();
  write(file, 0, pattern(kBytes));
  const Window window = file.map(0, 4 * kBytes, {.faults = serve}).value();
  if (window.faults() == Faults::none) return "no faults";
  for (std::uint64_t page = 100; page < 104; ++page) {
    file.punch(page * kPage, kPage).value();
    if (text(window, page * kPage, 1) != std::string(1, '\0')) return "a hole is not zeros";
  }
  {
    const AllMappings all;
    // What may fail: a few go through while the last mappings last, then all of them are refused.
    int refused = 0;
    for (std::uint64_t page = 0; page < 100; page += 2) {
      const int code = code_of(file.punch(page * kPage, kPage));
      if (code == ENOMEM) ++refused;
      const std::string wanted = code == 0 ? std::string(1, '\0') : pattern(kBytes).substr(page * kPage, 1);
      if (code != 0 && code != ENOMEM) return "punch: " + std::to_string(code);
      if (contents(file, page * kPage, 1) != wanted) return "the file is not what the punch said";
      if (text(window, page * kPage, 1) != wanted) return "the window is not what the punch said";
    }
    if (refused == 0) return "nothing was refused";
    if (code_of(file.map(0, kBytes)) != ENOMEM) return "there was room for a window";
    // What must not: zeros that become blocks, and a file that grows.
    for (std::uint64_t page = 100; page < 104; ++page) {
      write(file, page * kPage, "filled");
      if (contents(file, page * kPage, 6) != "filled") return "a write is lost";
      if (dies_of_bus_error(window.data() + page * kPage)) return "a write is not shown";
      if (text(window, page * kPage, 6) != "filled") return "the window hides a write";
    }
    for (std::uint64_t page = 0; page < 40; ++page) write(file, kBytes + 2 * page * kPage, "more");
    if (text(window, 255 * kPage, 8) != pattern(kBytes).substr(255 * kPage, 8)) return "what stays is not shown";
  }
  file.punch(200 * kPage, kPage).value();
  window.data()[200 * kPage] = std::byte{'s'};
  if (contents(file, 200 * kPage, 2) != std::string("s\0", 2)) return "a store is lost";
  const Window again = file.map(0, kBytes).value();
  return text(again, 202 * kPage, 8) == pattern(kBytes).substr(202 * kPage, 8) ? "" : "another window is wrong";
}

std::size_t mappings_within(const Window& window) {
  std::ifstream maps("/proc/self/maps");
  const auto begin = reinterpret_cast<std::uintptr_t>(window.data());
  std::size_t found = 0;
  for (std::string line; std::getline(maps, line);) {
    const std::uintptr_t at = std::stoull(line, nullptr, 16);
    if (at >= begin && at < begin + window.size()) ++found;
  }
  return found;
}

// What lies past the end is one mapping, however the end came there.
TEST(Mappings, PastTheEndAreOne) {
  Device device = Device::memory({.size = 64 * MiB}).value();
  format(device, {}).value();
  Filesystem fs = Filesystem::mount(std::move(device)).value();
  File file = fs.open("/a", Open::read_write | Open::create).value();
  write(file, 0, pattern(kBytes));
  const Window window = file.map(0, kBytes).value();
  for (std::uint64_t page = kPages; page > kPages / 2;) file.truncate(--page * kPage).value();
  EXPECT_LE(mappings_within(window), 4U);
  EXPECT_TRUE(dies_of_bus_error(window.data() + kBytes / 2));
  EXPECT_EQ(text(window, 0, kBytes / 2), pattern(kBytes / 2));
}

class MappingLimit : public ::testing::TestWithParam<ServeFaults> {};

TEST_P(MappingLimit, LosesNothing) {
  const ChildEnd end = run_in_child([] { return at_the_limit(GetParam()); });
  if (end.message == "no faults") HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
  EXPECT_EQ(end.message, "");
  EXPECT_TRUE(end.exited) << "signal " << end.signal;
}

INSTANTIATE_TEST_SUITE_P(Served, MappingLimit, ::testing::Values(ServeFaults::thread, ServeFaults::in_thread),
                         [](const auto& parameter) {
                           return parameter.param == ServeFaults::thread ? "thread" : "in_thread";
                         });

}  // namespace
}  // namespace holdfast::test
