// Goal: an operation that finds no space leaves the pool as it was, wherever that happens; and nobody has to stop for
// it. Method: for each operation the n-th allocation of each kind fails, once and from there on, for every n until the
// operation succeeds. After each the whole tree, what it holds, and the free space are compared with what was before,
// and at the end e2fsck finds nothing.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fault_point.h"
#include "support/pool_fixture.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

constexpr BreakOptions kDetach{.on_pinned = OnPinned::detach};

struct Operation {
  const char* name;
  std::function<Status()> run;
  std::function<void()> undo;  // after a success
  // Done in several handles: nodes that a tree got meanwhile may stay when its extents have gone again.
  bool in_steps = false;
};

class NoSpace : public test::PoolTest {
 protected:
  void SetUp() override { make_pool({.journal = NewJournal::sized, .journal_bytes = 4 * MiB}); }
  void TearDown() override {
    fault_point::disarm_all();
    pin_.reset();
    PoolTest::TearDown();
  }

  // Everything that can be seen below a directory.
  std::string picture(const std::string& path, bool in_steps) {
    std::string seen;
    std::vector<std::string> names;
    fs().list(path,
              [&names](const DirectoryEntry& entry) {
                if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
                return true;
              })
        .value();
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      const std::string full = path == "/" ? path + name : path + "/" + name;
      const Stat stat = fs().stat(full, Follow::no).value();
      seen +=
          fmt::format("{} {} {} {} {}\n", full, stat.size, in_steps ? 0 : stat.allocated, stat.links, stat.permissions);
      const std::vector<std::string> attributes = fs().list_attributes(full, Follow::no).value();
      for (const std::string& attribute : attributes) {
        seen += fmt::format("  {}={}\n", attribute, fs().attribute(full, attribute, Follow::no).value().size());
      }
      if (stat.kind == FileKind::directory) seen += picture(full, in_steps);
      if (stat.kind == FileKind::symlink) seen += fs().read_symlink(full).value();
      if (stat.kind != FileKind::regular) continue;
      std::vector<std::byte> content(stat.size);
      File file = fs().open(full, Open::read).value();
      EXPECT_EQ(file.read(0, content).value(), stat.size);
      std::uint64_t sum = 0;
      for (const std::byte byte : content) sum = sum * 31 + static_cast<std::uint64_t>(byte);
      seen += fmt::format("  {:x}\n", sum);
    }
    return seen;
  }
  std::string picture(bool in_steps) {
    fs().sync().value();
    static_cast<void>(fs().quarantine());  // what is queued for eviction goes
    fs().sync().value();
    const SpaceInfo space = fs().space();
    return fmt::format("{} {} {}\n", in_steps ? space.free / MiB : space.free, space.free_inodes, space.quarantined) +
           picture("/", in_steps);
  }

  void expect_clean_at_every_allocation(const Operation& operation) {
    SCOPED_TRACE(operation.name);
    unsigned refusals = 0;
    for (const char* point : {"ext4.allocate_data", "ext4.allocate_metadata", "ext4.allocate_inode",
                              "ext4.directory.reserve", "ext4.extent.data", "ext4.extent.node", "ext4.attribute.block",
                              "quarantine.inode", "quarantine.move", "quarantine.replace"}) {
      for (const unsigned failures : {1u, 1'000'000u}) {
        std::string before = picture(operation.in_steps);
        for (unsigned n = 1, successes = 0; successes < 3; ++n) {
          ASSERT_LT(n, 200u) << point;
          fault_point::arm(point, n, failures);
          const Status status = operation.run();
          fault_point::disarm_all();
          if (status) {
            ++successes;
            operation.undo();
            before = picture(operation.in_steps);
            continue;
          }
          ++refusals;
          EXPECT_EQ(status.error().code(), ENOSPC) << point << " " << n << ": " << status.error().message();
          ASSERT_EQ(picture(operation.in_steps), before) << point << " " << n;
        }
      }
    }
    EXPECT_GT(refusals, 0u) << "nothing failed";
  }

  // The next name that comes makes the directory grow.
  void fill_to_the_brim(const std::string& directory) {
    fs().make_directory(directory).value();
    for (int i = 0; i < 1000; ++i) {
      fault_point::arm("ext4.directory.reserve", 1);
      const auto made = fs().open(directory + long_name(i), Open::read_write | Open::create);
      fault_point::disarm_all();
      if (made) continue;
      ASSERT_EQ(code_of(made), ENOSPC);
      next_ = long_name(i);
      return;
    }
    FAIL() << "it never grew";
  }
  static std::string long_name(int number) { return "/" + std::string(180, 'n') + std::to_string(number); }

  // Records that cannot be joined, in leaves that are full, and one of many pages among them.
  void make_scattered(const std::string& path) {
    File file = fs().open(path, Open::read_write | Open::create).value();
    for (std::uint64_t page = 0; page < 1400; page += page == kLong ? kLongPages + 1 : 2) {
      const std::uint64_t pages = page == kLong ? kLongPages : 1;
      file.allocate(page * kPage, pages * kPage).value();
      file.write(page * kPage, bytes(pages * kPage, static_cast<unsigned char>('a' + page % 23))).value();
    }
    file.sync().value();
  }

  static constexpr std::uint64_t kPage = 4096;
  static constexpr std::uint64_t kLong = 300;
  static constexpr std::uint64_t kLongPages = 11;
  std::string next_;
  std::optional<Pin> pin_;
};

TEST_F(NoSpace, NamesOfAFullDirectory) {
  fill_to_the_brim("/full");
  make_file("/other", 100);
  const std::string name = "/full" + next_;
  // A directory that grew stays so: each success is followed by another directory.
  const auto again = [this] {
    for (const char* each : {"/full"}) {
      std::vector<std::string> names;
      fs().list(each,
                [&names](const DirectoryEntry& entry) {
                  if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
                  return true;
                })
          .value();
      for (const std::string& of : names) {
        const std::string path = std::string(each) + "/" + of;
        if (fs().stat(path, Follow::no).value().kind == FileKind::directory) {
          fs().remove_directory(path).value();
        } else {
          fs().unlink(path).value();
        }
      }
      fs().remove_directory(each).value();
      fill_to_the_brim(each);
    }
    if (!exists("/other")) make_file("/other", 100);
  };
  const auto create = [this, name]() -> Status {
    auto made = fs().open(name, Open::read_write | Open::create);
    return made ? Status() : Status(made.error());
  };
  expect_clean_at_every_allocation({"create", create, again});
  expect_clean_at_every_allocation({"mkdir", [this, name] { return fs().make_directory(name); }, again});
  expect_clean_at_every_allocation(
      {"symlink", [this, name] { return fs().symlink(std::string(500, 't'), name); }, again});
  expect_clean_at_every_allocation({"link", [this, name] { return fs().link("/other", name); }, again});
  expect_clean_at_every_allocation({"rename", [this, name] { return fs().rename("/other", name); }, again});
}

TEST_F(NoSpace, AnAttributeThatNeedsABlock) {
  make_file("/file", 10);
  const std::string value(2000, 'v');
  expect_clean_at_every_allocation({"attribute", [&] { return fs().set_attribute("/file", "user.large", value); },
                                    [&] { fs().remove_attribute("/file", "user.large").value(); }});
  fs().set_attribute("/file", "user.large", value).value();
}

TEST_F(NoSpace, ChangesOfAScatteredFile) {
  make_scattered("/file");
  const auto again = [this] {
    pin_.reset();
    fs().unlink("/file").value();
    make_scattered("/file");
  };
  const auto open = [this] { return fs().open("/file", Open::read_write).value(); };
  const auto status_of = [](const auto& result) { return result ? Status() : Status(result.error()); };
  expect_clean_at_every_allocation(
      {"write", [&] { return status_of(open().write(201 * kPage, bytes(kPage, 'W'))); }, again});
  expect_clean_at_every_allocation(
      {"allocate", [&] { return open().allocate(600 * kPage, 200 * kPage); }, again, true});
  expect_clean_at_every_allocation({"punch", [&] { return open().punch(304 * kPage, kPage); }, again});
}

// What is held goes to the holding inode, whose extents need blocks; the edge of the cut is copied.
TEST_F(NoSpace, DetachesOfAScatteredFile) {
  make_scattered("/file");
  const auto hold = [this] {
    File file = fs().open("/file", Open::read_write).value();
    pin_.emplace(file.pin(302 * kPage, 4 * kPage, {.access = Access::write}).value());
  };
  hold();
  const auto again = [&] {
    pin_.reset();
    fs().unlink("/file").value();
    make_scattered("/file");
    hold();
  };
  const auto open = [this] { return fs().open("/file", Open::read_write).value(); };
  expect_clean_at_every_allocation({"punch", [&] { return open().punch(303 * kPage, kPage, kDetach); }, again});
  expect_clean_at_every_allocation(
      {"cut a page", [&] { return open().punch(303 * kPage + 9, 2 * kPage, kDetach); }, again});
  expect_clean_at_every_allocation({"truncate", [&] { return open().truncate(303 * kPage + 9, kDetach); }, again});
  expect_clean_at_every_allocation({"zero", [&] { return open().zero_range(303 * kPage + 9, kPage, kDetach); }, again});
}

}  // namespace
}  // namespace holdfast
