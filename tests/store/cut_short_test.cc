// Goal: a pool file that another program cuts short under a mount is an error to whoever needs what is gone, ends no
// process, and what is there still can be read; given back its size, it is repaired by e2fsck. Method: the file is cut
// to half its size while it is mounted, with and without a journal, at a moment when all is synced and at one when not.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "support/pool_fixture.h"
#include "support/program.h"
#include "support/touch.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

constexpr std::uint64_t kSize = 64 * MiB;

class CutShort : public ::testing::TestWithParam<std::tuple<NewJournal, bool>> {
 protected:
  CutShort() {
    Device device = Device::create(pool_, kSize, true).value();
    format(device, {.journal = std::get<0>(GetParam()), .journal_bytes = 4 * MiB}).value();
    fs_.emplace(Filesystem::mount(std::move(device)).value());
  }
  File make(const std::string& name, std::uint64_t length, unsigned char value) {
    File file = fs_->open(name, Open::read_write | Open::create).value();
    EXPECT_EQ(file.write(0, bytes(length, value)).value(), length);
    return file;
  }
  static std::uint64_t where(const File& file) { return file.extents().value().front().device_offset; }

  const test::ScratchDirectory scratch_{test::tmpfs_parent().empty() ? test::disk_parent() : test::tmpfs_parent()};
  const std::string pool_ = scratch_.file("pool");
  std::optional<Filesystem> fs_;
};

TEST_P(CutShort, WhatIsGoneIsAnErrorAndTheRestIsThere) {
  {
    File near = make("/near", 64 * KiB, 'n');
    // Until one lies in the half that goes.
    std::vector<File> files;
    do {
      files.push_back(make("/file-" + std::to_string(files.size()), 2 * MiB, 'f'));
      ASSERT_LT(files.size(), 28U);
    } while (where(files.back()) < kSize / 2 + 2 * MiB);
    File& far = files.back();
    if (std::get<1>(GetParam())) fs_->sync().value();
    Window window = far.map(0, 2 * MiB).value();
    ASSERT_EQ(::truncate(pool_.c_str(), kSize / 2), 0);
    std::vector<std::byte> page(4096);
    EXPECT_EQ(code_of(far.read(0, page)), EIO);
    EXPECT_EQ(code_of(far.write(0, page)), EIO);
    EXPECT_TRUE(test::dies_of_bus_error(window.data() + 1 * MiB));
    EXPECT_TRUE(fs_->poisoned().value().empty()) << "that is no machine check";
    EXPECT_EQ(near.read(0, page).value(), page.size());
    EXPECT_EQ(page, bytes(4096, 'n'));
    // What is changed from now on may be refused, with a reason.
    for (int i = 0; i < 20; ++i) {
      const Result<File> more = fs_->open("/more-" + std::to_string(i), Open::read_write | Open::create);
      if (!more) break;
    }
    for (const auto& status : {far.truncate(4096), fs_->unlink("/file-0"), far.sync(), fs_->sync()}) {
      if (status) continue;
      EXPECT_NE(status.error().message(), "");
    }
  }
  static_cast<void>(fs_->unmount());
  fs_.reset();
  ASSERT_EQ(::truncate(pool_.c_str(), kSize), 0);
  const int repaired = test::shell("PATH=$PATH:/sbin:/usr/sbin e2fsck -fy '" + pool_ + "'");
  EXPECT_LE(repaired, 3);
  EXPECT_TRUE(test::e2fsck_clean(pool_));
}

INSTANTIATE_TEST_SUITE_P(Journal, CutShort,
                         ::testing::Combine(::testing::Values(NewJournal::none, NewJournal::sized), ::testing::Bool()),
                         [](const auto& how) {
                           return std::string(std::get<0>(how.param) == NewJournal::none ? "none" : "sized") +
                                  (std::get<1>(how.param) ? "_synced" : "_unsynced");
                         });

}  // namespace
}  // namespace holdfast
