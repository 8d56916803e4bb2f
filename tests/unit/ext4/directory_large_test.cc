// Goal: directories of 100,000 and of a million names are right for us, for e2fsck and for the kernel, and an operation
// costs the same as in a small one. Method: fill, look up, list, empty; the kernel mounts what we wrote. Times are
// printed, not judged.
#include <dirent.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "support/scratch.h"
#include "support/skip.h"
#include "unit/ext4/directory_image.h"

namespace holdfast::ext4 {
namespace {

std::string name_of(std::uint32_t number) { return "name-" + std::to_string(number); }

// Durations of single operations.
class Times {
 public:
  template <typename Operation>
  void measure(Operation operation) {
    const Nanoseconds start = monotonic_now();
    operation();
    times_.push_back((monotonic_now() - start).count());
  }
  std::string text() {
    std::sort(times_.begin(), times_.end());
    const auto at = [&](std::size_t share) { return times_[(times_.size() - 1) * share / 1000]; };
    return fmt::format("p50 {:5} p99 {:6} max {:7} ns", at(500), at(990), times_.back());
  }

 private:
  std::vector<Nanoseconds::rep> times_;
};

void fill(DirectoryImage& image, DirectoryImage::Names& model, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const InodeNumber inode = image.target();
    ASSERT_TRUE(image.add(name_of(i), inode)) << i;
    model.emplace(name_of(i), inode);
  }
}

void expect_listed(DirectoryImage& image, const DirectoryImage::Names& model) {
  DirectoryImage::Names listed = image.list(500);
  listed.erase(".");
  listed.erase("..");
  EXPECT_TRUE(listed == model) << listed.size() << " names of " << model.size();
}

// The kernel's view of the directory, by a read-only loop mount.
class KernelMount {
 public:
  explicit KernelMount(const std::string& image) {
    end_ = test::run_program("mount -t ext4 -o ro,loop '" + image + "' '" + at_.path() + "'");
  }
  ~KernelMount() {
    if (mounted()) {
      EXPECT_EQ(test::run_program("umount '" + at_.path() + "'").status, 0);
    }
  }
  KernelMount(const KernelMount&) = delete;
  KernelMount& operator=(const KernelMount&) = delete;
  bool mounted() const { return end_.status == 0; }
  const std::string& reason() const { return end_.output; }

  DirectoryImage::Names list() const {
    DirectoryImage::Names names;
    DIR* const directory = opendir((at_.path() + "/d").c_str());
    if (directory == nullptr) return names;
    while (const dirent* entry = readdir(directory)) {
      names.emplace(entry->d_name, InodeNumber{static_cast<std::uint32_t>(entry->d_ino)});
    }
    closedir(directory);
    return names;
  }
  InodeNumber look_up(const std::string& name) const {
    struct stat attributes {};
    if (lstat((at_.path() + "/d/" + name).c_str(), &attributes) != 0) return filesystem::kNoInode;
    return InodeNumber{static_cast<std::uint32_t>(attributes.st_ino)};
  }

 private:
  test::ScratchDirectory at_;
  test::ProgramEnd end_;
};

class KernelReads : public testing::TestWithParam<const char*> {};

TEST_P(KernelReads, WhatWeWrote) {
  DirectoryImage image({.hash = GetParam(), .bytes = 128 << 20, .names_max = 100000});
  DirectoryImage::Names model;
  fill(image, model, 100000);
  // Some long ones, and bytes above 127, for which signedness matters.
  for (int i = 0; i < 500; ++i) {
    const std::string name = std::string(1 + static_cast<std::size_t>(i) % 240, '\xe4') + "-" + std::to_string(i);
    const InodeNumber inode = image.target();
    ASSERT_TRUE(image.add(name, inode));
    model[name] = inode;
  }
  for (std::uint32_t i = 0; i < 100000; i += 3) {
    ASSERT_TRUE(image.remove(name_of(i)));
    model.erase(name_of(i));
  }
  const auto root = image.volume().inode(InodeNumber{EXT2_ROOT_INO}).value()->body.i_links_count;
  EXPECT_EQ(root, 4);
  ASSERT_TRUE(image.close_and_check(model));

  const KernelMount kernel(image.path());
  if (!kernel.mounted()) HF_SKIP_CAPABILITY("loop", kernel.reason());
  DirectoryImage::Names listed = kernel.list();
  listed.erase(".");
  listed.erase("..");
  EXPECT_TRUE(listed == model) << listed.size() << " names of " << model.size();
  std::mt19937 random(8);
  for (int i = 0; i < 1000; ++i) {
    const auto number = static_cast<std::uint32_t>(random() % 100000);
    const auto found = model.find(name_of(number));
    EXPECT_EQ(kernel.look_up(name_of(number)), found == model.end() ? filesystem::kNoInode : found->second) << number;
  }
  for (const auto& [name, inode] : model) {
    if (name.front() == '\xe4') {
      EXPECT_EQ(kernel.look_up(name), inode) << name.size();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Hashes, KernelReads, testing::Values("half_md4", "tea", "legacy"),
                         [](const auto& hash) { return std::string(hash.param); });

TEST(DirectoryLarge, HundredThousandNames) {
  DirectoryImage image({.bytes = 128 << 20, .names_max = 100000});
  DirectoryImage::Names model;
  fill(image, model, 100000);
  expect_listed(image, model);
  image.reopen();
  for (const auto& [name, inode] : model) ASSERT_EQ(image.find(name), inode);
  expect_listed(image, model);
  const std::uint32_t blocks = image.blocks();
  for (const auto& [name, inode] : model) ASSERT_TRUE(image.remove(name));
  EXPECT_TRUE(image.empty());
  model.clear();
  fill(image, model, 100000);
  EXPECT_EQ(image.blocks(), blocks);
  EXPECT_TRUE(image.close_and_check(model));
}

// Create, lookup and unlink among `count` names.
void print_times(DirectoryImage& image, std::uint32_t count) {
  constexpr std::uint32_t kSamples = 10000;
  std::mt19937 random(1);
  Times create;
  Times found;
  Times absent;
  Times unlink;
  std::vector<std::string> fresh;
  for (std::uint32_t i = 0; i < kSamples; ++i) fresh.push_back("fresh-" + std::to_string(random()));
  for (const std::string& name : fresh) {
    const std::string old = name_of(static_cast<std::uint32_t>(random() % count));
    create.measure([&] { ASSERT_TRUE(image.add(name, image.target())); });
    found.measure([&] { ASSERT_TRUE(lookup(image.volume(), image.directory(), old)->has_value()); });
    absent.measure([&] { ASSERT_TRUE(lookup(image.volume(), image.directory(), "gone")); });
    unlink.measure([&] { ASSERT_TRUE(image.remove(name)); });
  }
  std::printf("%8u names: create %s\n                lookup %s\n                absent %s\n                unlink %s\n",
              count, create.text().c_str(), found.text().c_str(), absent.text().c_str(), unlink.text().c_str());
}

TEST(DirectoryTimes, SmallDirectories) {
  for (const std::uint32_t count : {10u, 10000u}) {
    DirectoryImage image;
    DirectoryImage::Names model;
    fill(image, model, count);
    print_times(image, count);
    EXPECT_TRUE(image.close_and_check(model));
  }
}

TEST(DirectoryMillion, AsQuickAsSmallOnes) {
  constexpr std::uint32_t kCount = 1000000;
  DirectoryImage image({.bytes = 256 << 20, .names_max = kCount});
  DirectoryImage::Links links;
  Times create;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const InodeNumber inode = image.target();
    ++links[inode];
    const std::string name = name_of(i);
    create.measure([&] { ASSERT_TRUE(image.add(name, inode)); });
  }
  std::printf("%8u names: filled %s\n", kCount, create.text().c_str());
  image.reopen();
  Nanoseconds start = monotonic_now();
  EXPECT_TRUE(image.find(name_of(4711)));
  std::printf("first lookup after mount: %.0f us\n", static_cast<double>((monotonic_now() - start).count()) / 1e3);
  print_times(image, kCount);
  start = monotonic_now();
  std::size_t seen = 0;
  for (std::uint64_t cursor = 0; cursor != filesystem::kDirectoryEnd;) {
    std::size_t left = 512;
    cursor = read_directory(image.volume(), image.directory(), cursor, [&](const Name&, std::uint64_t) {
               ++seen;
               return --left != 0;
             }).value();
  }
  EXPECT_EQ(seen, kCount + 2u);
  std::printf("listing: %.0f ns a name\n", static_cast<double>((monotonic_now() - start).count()) / kCount);
  EXPECT_TRUE(image.close_and_check(links));
}

}  // namespace
}  // namespace holdfast::ext4
