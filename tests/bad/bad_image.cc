#include "bad/bad_image.h"

#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bad/image_places.h"
#include "bad/made_image.h"
#include "support/program.h"
#include "support/skip.h"

namespace holdfast::test {
namespace {

constexpr std::uint64_t kImageBytes = std::uint64_t{32} << 20U;

void make_tree(const std::string& top) {
  namespace fs = std::filesystem;
  fs::create_directories(top + "/sub/deep");
  fs::create_directory(top + "/many");
  for (int i = 0; i < 400; ++i) write_file(top + fmt::format("/many/a-name-of-some-length-{:05d}", i), "");
  write_file(top + "/small", "small\n");
  write_file(top + "/large", std::string(1500000, 'l'));
  write_file(top + "/pieces", std::string(200000, 'p'));
  write_file(top + "/sub/deep/leaf", "leaf\n");
  fs::create_symlink("small", top + "/link");
  fs::create_symlink(std::string(200, 's'), top + "/long-link");
  fs::create_hard_link(top + "/small", top + "/second");
  shell("setfattr -n user.big -v " + std::string(600, 'v') + " '" + top + "/large'");
}

}  // namespace

BadImage::BadImage() : scratch_(tmpfs_parent().empty() ? disk_parent() : tmpfs_parent()) {}

void BadImage::SetUp() {
  const bool ours = GetParam() == BadFlavour::checksums;
  if (has_e2fsprogs()) {
    judge_ = std::make_unique<Judge>(ours ? "checksums" : "plain");
  } else if (!ours) {
    HF_SKIP_CAPABILITY("e2fsprogs", "mke2fs is not installed");
  }
  const std::string tree = scratch_.file("t");
  make_tree(tree);
  const std::string pool = scratch_.file("sound.img");
  make(tree, pool);
  for (const char* name :
       {"small", "large", "pieces", "many", "sub", "long-link", "many/a-name-of-some-length-00000"}) {
    const Said said = holdfast({"stat", "--json", pool, std::string("/t/") + name});
    inodes_[name] = nlohmann::json::parse(said.out).at(0).at("inode").get<std::uint32_t>();
  }
  const Said checked = holdfast({"check", pool});
  ASSERT_EQ(checked.code, 0) << checked.out;
  sound_ = read_file(pool);
}

void BadImage::make(const std::string& tree, const std::string& pool) const {
  if (GetParam() == BadFlavour::checksums) {
    make_image(pool, kImageBytes);
  } else {
    std::string said;
    ASSERT_TRUE(make_image_by_mke2fs(pool, "-O ^metadata_csum,^has_journal", kImageBytes, said)) << said;
  }
  const Said put = holdfast({"put", "-q", pool, tree, "/"});
  ASSERT_EQ(put.code, 0) << put.err;
  // Many extents, so that there is a tree below the root.
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(holdfast({"punch", pool, std::to_string(8192 * i), "4096", "/t/pieces"}).code, 0);
  }
  ImagePlaces(pool).settle();
}

std::string BadImage::make_again() const {
  const std::string pool = scratch_.file("again.img");
  make(scratch_.file("t"), pool);
  return read_file(pool);
}

// Runs the program within limits of time; complains about everything but a success and a proper refusal.
Said BadImage::run(const std::string& damage, const std::vector<std::string>& words) {
  std::string command = "'" HOLDFAST_PROGRAM "'";
  for (const std::string& word : words) command += " '" + word + "'";
  const std::string err = scratch_.file("err");
  Said said;
  said.code = shell(limited(command + " 2>'" + err + "'"), &said.out);
  said.err = read_file(err);
  const bool is_check = words[0] == "check";
  EXPECT_FALSE(ran_too_long(said.code)) << damage << ": " << words[0] << " hangs (" << said.code << ")";
  EXPECT_TRUE(said.code == 0 || said.code == 1 || (is_check && (said.code == 4 || said.code == 8)))
      << damage << ": " << words[0] << " gave " << said.code << '\n'
      << said.err.substr(0, 2000);
  if (said.code == 1) {
    EXPECT_NE(said.err, "") << damage << ": " << words[0];
  }
  std::istringstream lines(said.err);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_EQ(line.rfind("holdfast: ", 0), 0U) << damage << ": " << words[0] << ": " << line;
  }
  return said;
}

void BadImage::survive(const Damage& damage) {
  SCOPED_TRACE(damage.name);
  Ext4Image image(sound_);
  damage.apply(image);
  const std::string pool = scratch_.file("bad.img");
  write_file(pool, image.bytes());
  run(damage.name, {"ls", "-laR", pool});
  run(damage.name, {"df", pool});
  const Said checked = run(damage.name, {"check", "--read-data", "--no-e2fsck", pool});
  if (judge_ != nullptr) judge_->judge(pool, checked, damage.name);
  const std::string out = scratch_.file("out");
  run(damage.name, {"get", "-q", pool, "/t", out});
  // Sizes that are damaged are those of holes. Gigabytes of zeros take a slow machine minutes.
  EXPECT_EQ(
      shell(fmt::format("test ! -e '{0}' || test $(du -sk '{0}' | cut -f1) -le {1}", out, 2 * kImageBytes / 1024)), 0)
      << damage.name << ": get wrote more than there is";
  std::filesystem::remove_all(out);
  EXPECT_TRUE(read_file(pool) == image.bytes()) << damage.name << ": a reading command wrote to the pool";
  run(damage.name, {"put", "-q", pool, scratch_.file("t/sub"), "/t/new"});
  write_file(pool, image.bytes());
  run(damage.name, {"rm", "-r", pool, "/t"});
}

void BadImage::survive_all(const std::vector<Damage>& damages) {
  for (const Damage& damage : damages) survive(damage);
  if (judge_ != nullptr) std::cout << judge_->counts();
}

}  // namespace holdfast::test
