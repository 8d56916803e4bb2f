// Goal: what a sync of a range, or a write through a file that was opened for it, says is durable, is there when the
// power fails right after, with the size and the blocks that find it; and not more than that is waited for. Method: a
// pool on a recording device for each medium; the least that may be left of it is mounted and read.
#include <cerrno>
#include <functional>

#include "support/durable_pool.h"

namespace holdfast::test {
namespace {

class Synced : public DurablePool, public ::testing::WithParamInterface<sim::Medium> {
 protected:
  Synced() : DurablePool(GetParam()) {}

  File open(Open how) { return fs_->open("/file", Open::read_write | Open::create | how).value(); }
  std::uint64_t flushed_by(const std::function<void()>& work) {
    const std::uint64_t before = recorder_.flushed_bytes();
    work();
    return recorder_.flushed_bytes() - before;
  }
};

TEST_P(Synced, AWriteThroughAFileOpenedForIt) {
  for (const Open how : {Open::data_sync, Open::sync}) {
    File file = open(how);
    EXPECT_EQ(write(file, 0, 10000, 'a'), 10000U);
    EXPECT_EQ(least(0, 20000), std::string(10000, 'a'));
    EXPECT_EQ(write(file, 5000, 10000, 'b'), 10000U);
    EXPECT_EQ(least(0, 20000), std::string(5000, 'a') + std::string(10000, 'b'));
    file.append(std::as_bytes(std::span(std::string_view("the end")))).value();
    EXPECT_EQ(least(15000, 100), "the end");
    write(file, 0, 100, 'c');  // in place, and nothing to commit
    EXPECT_EQ(least(0, 101), std::string(100, 'c') + std::string(1, 'a'));
    file.truncate(0).value();
    fs_->sync().value();
  }
}

TEST_P(Synced, AWriteThroughAnotherIsNot) {
  File file = open(Open::read);
  file.sync().value();
  write(file, 0, 10000, 'a');
  EXPECT_EQ(least(0, 20000), "");
  File durable = open(Open::data_sync);
  write(durable, 9000, 2000, 'b');
  EXPECT_EQ(least(9000, 20000), std::string(2000, 'b'));
}

TEST_P(Synced, ARange) {
  File file = open(Open::read);
  write(file, 0, 2 * MiB, 'a');
  file.sync().value();
  {
    const Pin pin = write_pin(file, 0, 2 * MiB);
    store(pin, 'b');
  }
  const std::uint64_t part = flushed_by([&] { file.sync_data(1 * MiB, 8192).value(); });
  EXPECT_EQ(least(1 * MiB, 8192), std::string(8192, 'b'));
  if (GetParam() == sim::Medium::pages) {
    EXPECT_LE(part, 128 * KiB) << "the pages, and a commit";
  }
  const std::uint64_t rest = flushed_by([&] { file.sync_data().value(); });
  EXPECT_EQ(least(0, 2 * MiB), std::string(2 * MiB, 'b'));
  if (GetParam() == sim::Medium::pages) {
    EXPECT_GE(rest, 2 * MiB);
  }
}

TEST_P(Synced, ARangeOfAWindow) {
  File file = open(Open::read);
  write(file, 0, 256 * KiB, 'a');
  file.sync().value();
  Window window = file.map(0, 256 * KiB).value();
  std::memset(window.data() + 64 * KiB, 'w', 100);
  window.sync(64 * KiB, 100).value();
  EXPECT_EQ(least(64 * KiB, 101), std::string(100, 'w') + std::string(1, 'a'));
}

TEST_P(Synced, ARangeThatNoFileHasIsRefused) {
  File file = open(Open::read);
  EXPECT_EQ(file.sync_data(~std::uint64_t{0}, 1).error().code(), EINVAL);
  EXPECT_EQ(file.sync_data(4096, ~std::uint64_t{0}).error().code(), EINVAL);
  EXPECT_TRUE(file.sync_data(1 * MiB, 0));
  EXPECT_TRUE(file.sync_data(1 * MiB, 4096)) << "past the end there is nothing to do";
}

INSTANTIATE_TEST_SUITE_P(On, Synced, ::testing::Values(sim::Medium::lines, sim::Medium::pages),
                         [](const auto& medium) { return medium.param == sim::Medium::lines ? "lines" : "pages"; });

}  // namespace
}  // namespace holdfast::test
