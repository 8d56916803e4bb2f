// Goal: files whose blocks are mapped in ext3's way are read and written in place, and whatever would change the map is
// refused before anything has changed. Method: an image that mke2fs made so, judged by e2fsck after each refusal.
#include <gtest/gtest.h>

#include <cerrno>

#include <holdfast/holdfast.h>

#include "support/ext4_volume.h"
#include "support/pool_fixture.h"
#include "support/program.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

class OldBlockMap : public ::testing::Test {
 protected:
  static constexpr std::size_t kBytes = 300'000;

  OldBlockMap() {
    const std::string file = tree_.file("file");
    test::write_file(file, std::string(kBytes, 'x'));
    test::write_file(tree_.file("empty"), "");
    image_.emplace(32 << 20, "-t ext2 -d '" + tree_.path() + "'");
    fs_.emplace(Filesystem::mount(Device::open(image_->path()).value()).value());
  }

  // The pool is whole, and closed cleanly: nothing was left half done.
  void expect_sound() {
    fs_->unmount().value();
    EXPECT_TRUE(test::e2fsck_clean(image_->path()));
    fs_.emplace(Filesystem::mount(Device::open(image_->path()).value()).value());
  }
  void expect_untouched() {
    expect_sound();
    const File file = fs_->open("/file", Open::read).value();
    std::vector<std::byte> got(2 * kBytes);
    got.resize(file.read(0, got).value());
    EXPECT_EQ(got, bytes(kBytes, 'x'));
  }

  test::ScratchDirectory tree_;
  std::optional<test::Ext4Image> image_;
  std::optional<Filesystem> fs_;
};

TEST_F(OldBlockMap, SizesStay) {
  // 8 TiB are what a map in ext3's way cannot reach: e2fsck takes it for damage.
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{100}, 8 * TiB, std::uint64_t{kBytes + 1}}) {
    for (const OnPinned on_pinned : {OnPinned::wait, OnPinned::detach}) {
      File file = fs_->open("/file", Open::read_write).value();
      EXPECT_EQ(code_of(file.truncate(size, {.on_pinned = on_pinned})), EOPNOTSUPP) << size;
      EXPECT_EQ(file.size(), kBytes);
    }
    expect_untouched();
  }
  { EXPECT_EQ(code_of(fs_->open("/empty", Open::write).value().truncate(8 * TiB)), EOPNOTSUPP); }
  EXPECT_EQ(code_of(fs_->open("/file", Open::write | Open::truncate)), EOPNOTSUPP);
  expect_untouched();
}

TEST_F(OldBlockMap, BlocksStay) {
  {
    File file = fs_->open("/file", Open::read_write).value();
    EXPECT_EQ(code_of(file.punch(8192, 8192)), EOPNOTSUPP);
    EXPECT_EQ(code_of(file.append(bytes(8192, 'a'))), EOPNOTSUPP);
    EXPECT_EQ(code_of(file.allocate(MiB, MiB)), EOPNOTSUPP);
  }
  expect_untouched();
}

TEST_F(OldBlockMap, TheLastNameStays) {
  EXPECT_EQ(code_of(fs_->unlink("/file")), EOPNOTSUPP);
  EXPECT_EQ(code_of(fs_->rename("/empty", "/file")), EOPNOTSUPP);
  EXPECT_TRUE(fs_->stat("/empty"));
  expect_untouched();
  // Another name may go, and names may change places.
  fs_->link("/file", "/other").value();
  fs_->unlink("/file").value();
  fs_->rename("/other", "/file").value();
  fs_->rename("/empty", "/file", Rename::exchange).value();
  fs_->rename("/empty", "/file", Rename::exchange).value();
  fs_->unlink("/empty").value();
  expect_untouched();
}

TEST_F(OldBlockMap, BytesAreWrittenInPlaceAndPinned) {
  {
    File file = fs_->open("/file", Open::read_write).value();
    EXPECT_EQ(file.write(1000, bytes(5000, 'y')).value(), 5000U);
    Pin pin = file.pin(8192, 4096, {.access = Access::write}).value();
    EXPECT_EQ(code_of(file.truncate(0, {.on_pinned = OnPinned::fail})), EBUSY);
    std::fill_n(pin.segments().front().address, 4096, std::byte{'z'});
  }
  expect_sound();
  const File file = fs_->open("/file", Open::read).value();
  std::vector<std::byte> got(5000);
  EXPECT_EQ(file.read(1000, got).value(), 5000U);
  EXPECT_EQ(got, bytes(5000, 'y'));
  got.resize(4096);
  EXPECT_EQ(file.read(8192, got).value(), 4096U);
  EXPECT_EQ(got, bytes(4096, 'z'));
}

}  // namespace
}  // namespace holdfast
