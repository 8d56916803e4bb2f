// A pool on a carrier of choice, and what tests of windows look at: bytes through a window, bytes through the file, and
// how a touch ends.
#pragma once

#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "support/carriage.h"
#include "support/scratch.h"
#include "support/touch.h"  // IWYU pragma: export

namespace holdfast::test {

// On what, and served how.
struct Showing {
  Carriage carriage = Carriage::memory;
  ServeFaults faults = ServeFaults::thread;
};
std::string to_string(const Showing& showing);
inline constexpr Showing kEveryShowing[] = {
    {Carriage::memory, ServeFaults::thread},       {Carriage::tmpfs_file, ServeFaults::thread},
    {Carriage::disk_file, ServeFaults::thread},    {Carriage::hugetlb, ServeFaults::thread},
    {Carriage::memory, ServeFaults::in_thread},    {Carriage::tmpfs_file, ServeFaults::in_thread},
    {Carriage::disk_file, ServeFaults::in_thread}, {Carriage::hugetlb, ServeFaults::in_thread},
};

class WindowBed : public ::testing::Test {
 protected:
  ~WindowBed() override;
  // Once more: the pool that was there is closed.
  void open_pool(Carriage carriage, std::uint64_t size = 64 * MiB, const MountOptions& options = {},
                 const FormatOptions& layout = {});
  Filesystem& fs() { return *fs_; }
  // `look` gets the path of an image that is a file before it goes.
  void close_pool(const std::function<void(const std::string&)>& look = nullptr);
  // What the carrier maps at least.
  std::uint64_t grain() const { return grain_; }
  // How windows that map() makes are served.
  void serve_faults(ServeFaults faults) { faults_ = faults; }
  Result<Window> map(File& file, std::uint64_t offset, std::uint64_t length, MapOptions options = {}) const {
    options.faults = faults_;
    return file.map(offset, length, options);
  }
  File make_file(const std::string& path, const std::string& contents);
  std::string pool_path() const { return scratch_->file("pool"); }  // of carriers that are files

 private:
  std::optional<ScratchDirectory> scratch_;
  std::optional<Filesystem> fs_;
  std::uint64_t grain_ = 4 * KiB;
  ServeFaults faults_ = ServeFaults::thread;
};

std::string pattern(std::uint64_t length);
std::string text(const Window& window, std::uint64_t offset, std::uint64_t length);
std::string contents(const File& file, std::uint64_t offset, std::uint64_t length);
void write(File& file, std::uint64_t offset, const std::string& bytes);
// Whether system calls on absent pages of the window answer EFAULT.
bool calls_fail(const Window& window);

}  // namespace holdfast::test
