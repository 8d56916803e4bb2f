// A pool file of its own for one test, through the public interface, judged by e2fsck at the end.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/holdfast.h>

#include "support/ext4_volume.h"
#include "support/scratch.h"

namespace holdfast::test {

inline std::vector<std::byte> bytes(std::size_t count, unsigned char value) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

class PoolTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kPoolBytes = 64 * MiB;

  void SetUp() override { make_pool({}); }

  // Unmounts, and asks e2fsck.
  void TearDown() override {
    if (!fs_) return;
    const Status closed = fs_->unmount();
    EXPECT_TRUE(closed) << closed.error().message();
    fs_.reset();
    EXPECT_TRUE(e2fsck_clean(path()));
  }

  void make_pool(const FormatOptions& options, std::uint64_t size = kPoolBytes) {
    fs_.reset();
    Device device = Device::create(path(), size, true).value();
    format(device, options).value();
    fs_.emplace(Filesystem::mount(std::move(device)).value());
  }

  // `checked`: e2fsck is asked in between.
  void remount(bool checked = false) {
    close();
    if (checked) {
      EXPECT_TRUE(e2fsck_clean(path()));
    }
    mount().value();
  }
  // Unmounts; until mount() only the image may be used.
  void close() {
    fs().unmount().value();
    fs_.reset();
  }
  // The Filesystem goes as it is. The pool closes with the last handle, window and pin, maybe on a thread of its own.
  void leave() { fs_.reset(); }
  Status mount() {
    Result<Device> device = Device::open(path());
    if (!device) return std::move(device).error();
    Result<Filesystem> mounted = Filesystem::mount(std::move(device).value());
    if (!mounted) return std::move(mounted).error();
    fs_.emplace(std::move(mounted).value());
    return {};
  }

  Filesystem& fs() { return *fs_; }
  std::string path() const { return scratch_.path() + "/pool"; }

  File make_file(std::string_view name, std::size_t size = 0, unsigned char value = 'x') {
    File file = fs().open(name, Open::read_write | Open::create).value();
    if (size > 0) {
      EXPECT_EQ(file.write(0, bytes(size, value)).value(), size);
    }
    return file;
  }
  bool exists(std::string_view name) { return fs().stat(name, Follow::no).has_value(); }

 private:
  ScratchDirectory scratch_{tmpfs_parent().empty() ? disk_parent() : tmpfs_parent()};
  std::optional<Filesystem> fs_;
};

// The errno value of a Status or Result; 0: it succeeded.
template <typename R>
int code_of(const R& result) {
  return result ? 0 : result.error().code();
}

}  // namespace holdfast::test
