// What the scenarios share: timing, pools, and directories of the comparators.
#pragma once

#include <holdfast/holdfast.h>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench.h"

namespace holdfast::cli::bench {

// Keeps the compiler from dropping a measured value.
template <typename T>
inline void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");  // NOLINT: the compiler barrier has no other spelling
}

inline std::int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Nanoseconds an operation over `operations` runs of `body(i)`. A body that fails ends the measurement.
template <typename Body>
Result<Sample> time_batch(std::uint64_t operations, Body body) {
  const std::int64_t start = now_nanoseconds();
  for (std::uint64_t i = 0; i < operations; ++i) {
    if (Status done = body(i); !done) return std::move(done).error();
  }
  return Sample{static_cast<double>(now_nanoseconds() - start) / static_cast<double>(operations), 0};
}

Sample sample_of(std::vector<double>& nanoseconds);

// The same without a Status in the loop, for bodies of a few nanoseconds. The median of many short slices: one is over
// before the kernel gives the CPU to somebody else, and those that were not so lucky are no median.
template <typename Body>
Sample time_tight(std::uint64_t operations, Body body) {
  constexpr std::uint64_t kSlice = 1000;
  std::vector<double> slices;
  for (std::uint64_t done = 0; done < operations; done += kSlice) {
    const std::int64_t start = now_nanoseconds();
    for (std::uint64_t i = done; i < done + kSlice; ++i) body(i);
    slices.push_back(static_cast<double>(now_nanoseconds() - start) / static_cast<double>(kSlice));
  }
  return {sample_of(slices).nanoseconds, 0};
}

// Each operation timed by itself: median and tail.
template <typename Body>
Result<Sample> time_each(std::uint64_t operations, Body body);

template <typename Body>
Result<Sample> time_each(std::uint64_t operations, Body body) {
  std::vector<double> taken;
  taken.reserve(operations);
  for (std::uint64_t i = 0; i < operations; ++i) {
    const std::int64_t start = now_nanoseconds();
    Status done = body(i);
    taken.push_back(static_cast<double>(now_nanoseconds() - start));
    if (!done) return std::move(done).error();
  }
  return sample_of(taken);
}

// A mounted pool in memory of the given page size.
Result<Filesystem> memory_pool(std::uint64_t size, PageSize page_size = PageSize::base_4k);

// Bytes of this process that are in memory, as the kernel counts page by page.
std::uint64_t resident_bytes();

// Errors of system calls, as ours look.
Error system_error(const std::string& object);

// A new directory below `base` that goes with everything in it.
class TemporaryDirectory {
 public:
  static Result<TemporaryDirectory> make(const std::string& base);
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Where tmpfs is.
inline constexpr const char* kTmpfs = "/dev/shm";

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();
  int get() const { return fd_; }

 private:
  int fd_;
};

// open(2) as a Result.
Result<FileDescriptor> open_file(const std::string& path, int flags);

// Runs a program to its end; its output goes nowhere. Fails with what it exited with.
Status run_program(const std::vector<std::string>& arguments);

// A mounted file system (mount(2) by the mount program), unmounted at the end. EPERM: not root.
class MountPoint {
 public:
  static Result<MountPoint> mount(const std::vector<std::string>& arguments, const std::string& directory);
  MountPoint(MountPoint&& other) noexcept : directory_(std::exchange(other.directory_, {})) {}
  MountPoint& operator=(MountPoint&&) = delete;
  ~MountPoint();
  const std::string& path() const { return directory_; }

 private:
  explicit MountPoint(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

}  // namespace holdfast::cli::bench
