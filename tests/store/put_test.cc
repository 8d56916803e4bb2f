// Goal: a `put` that the pool or the source fails leaves every file whole or absent, says why in a line, and ends
// with 1. Method: a pool that fills up in the middle; a source that is changed while the copy is stopped at a mark.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "support/ext4_volume.h"
#include "support/mark_stop.h"
#include "support/program.h"
#include "support/task.h"

namespace holdfast {
namespace {

using test::ProgramPool;
using test::Said;
using test::write_file;

std::string text_of(std::size_t length, unsigned seed) {
  std::string text(length, '\0');
  for (std::size_t i = 0; i < length; ++i) text[i] = static_cast<char>('a' + (i / 4096 + i + seed) % 26);
  return text;
}

std::size_t lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

class PutFails : public ::testing::Test {
 protected:
  void make_tree(const std::string& name, unsigned files, std::size_t bytes) {
    const std::string top = pool_.beside(name);
    ASSERT_EQ(mkdir(top.c_str(), 0755), 0);
    for (unsigned i = 0; i < files; ++i) write_file(fmt_path(top, i), text_of(bytes, i));
  }
  static std::string fmt_path(const std::string& top, unsigned number) {
    return top + "/file" + std::to_string(number);
  }

  std::string in_pool(const std::string& path) { return pool_.ok({"cat", "POOL", path}); }
  bool has(const std::string& path) { return pool_.run({"stat", "POOL", path}).code == 0; }

  // What is in the pool of these files is whole, and there is nothing else (but . and ..); returns how many there are.
  unsigned expect_whole(const std::string& directory, unsigned files, std::size_t bytes) {
    if (!has(directory)) return 0;
    unsigned found = 0;
    for (unsigned i = 0; i < files; ++i) {
      const std::string path = fmt_path(directory, i);
      if (!has(path)) continue;
      ++found;
      EXPECT_TRUE(in_pool(path) == text_of(bytes, i)) << path << " is there and not whole";
    }
    EXPECT_EQ(lines(pool_.ok({"ls", "-a", "POOL", directory})), found + 2) << "something else is there as well";
    return found;
  }

  // put of `sources`, stopped in the middle of the first file, while `meddle` runs.
  Said put_stopped(const std::string& source, const std::function<void()>& meddle) {
    test::MarkStop stop("write.has_room");
    test::Task putting([&] { return pool_.run({"put", "-q", "POOL", source, "/"}); });
    EXPECT_TRUE(stop.wait_until_stopped());
    meddle();
    stop.go_on();
    return putting.get();
  }

  ProgramPool pool_{"16M"};
};

TEST_F(PutFails, ThePoolIsFull) {
  make_tree("old", 3, 100'000);
  pool_.ok({"put", "-q", "POOL", pool_.beside("old"), "/"});
  make_tree("new", 6, 4 << 20);
  for (const bool again : {false, true}) {
    SCOPED_TRACE(again);
    std::string said;
    // The installed program, with its own exit code and both of its streams.
    const int code = test::shell("(" + std::string(HOLDFAST_PROGRAM) + " put -q '" + pool_.path() + "' '" +
                                     pool_.beside("new") + "' / 2>&1 >/dev/null)",
                                 &said);
    EXPECT_EQ(code, 1);
    EXPECT_EQ(lines(said), 1U) << said;
    EXPECT_NE(said.find(pool_.path()), std::string::npos) << said;
    EXPECT_NE(said.find("o space left"), std::string::npos) << said;
    const unsigned found = expect_whole("/new", 6, 4 << 20);
    EXPECT_GT(found, 0U);
    EXPECT_LT(found, 6U);
    EXPECT_EQ(expect_whole("/old", 3, 100'000), 3U);
    EXPECT_TRUE(test::e2fsck_clean(pool_.path()));
  }
  // The space of what was not finished is back: what is removed makes room for as much.
  const std::string smaller = pool_.beside("small");
  write_file(smaller, text_of(2 << 20, 9));
  pool_.ok({"rm", "-r", "POOL", "/new"});
  pool_.ok({"put", "-q", "POOL", smaller, "/"});
  EXPECT_TRUE(in_pool("/small") == text_of(2 << 20, 9));
}

// A file that is there already is replaced by a whole one or not at all.
TEST_F(PutFails, ThePoolIsTooFullToReplaceAFile) {
  const std::string source = pool_.beside("file");
  write_file(source, text_of(6 << 20, 1));
  pool_.ok({"put", "-q", "POOL", source, "/"});
  write_file(source, text_of(12 << 20, 2));
  const Said said = pool_.run({"put", "-q", "POOL", source, "/"});
  EXPECT_EQ(said.code, 1);
  EXPECT_EQ(lines(said.err), 1U) << said.err;
  EXPECT_TRUE(in_pool("/file") == text_of(6 << 20, 1));
  EXPECT_TRUE(test::e2fsck_clean(pool_.path()));
}

constexpr std::size_t kLarge = (2 << 20) + 5;

TEST_F(PutFails, ASourceThatShrinksIsLeftOut) {
  make_tree("tree", 3, kLarge);
  const std::string first = fmt_path(pool_.beside("tree"), 0);
  // Whichever file the copy begins with.
  const Said said = put_stopped(pool_.beside("tree"), [&] {
    for (unsigned i = 0; i < 3; ++i) std::filesystem::resize_file(fmt_path(pool_.beside("tree"), i), kLarge - 100'000);
  });
  EXPECT_EQ(said.code, 1);
  EXPECT_EQ(lines(said.err), 1U) << said.err;
  EXPECT_NE(said.err.find("changed while it was copied"), std::string::npos) << said.err;
  unsigned found = 0;
  for (unsigned i = 0; i < 3; ++i) {
    if (!has(fmt_path("/tree", i))) continue;
    ++found;
    EXPECT_TRUE(in_pool(fmt_path("/tree", i)) == text_of(kLarge, i).substr(0, kLarge - 100'000));
  }
  EXPECT_EQ(found, 2U);
  EXPECT_TRUE(test::e2fsck_clean(pool_.path()));
}

TEST_F(PutFails, ASourceThatGrowsIsLeftOut) {
  write_file(pool_.beside("file"), text_of(kLarge, 0));
  const Said said =
      put_stopped(pool_.beside("file"), [&] { write_file(pool_.beside("file"), text_of(2 * kLarge, 0)); });
  EXPECT_EQ(said.code, 1);
  EXPECT_EQ(lines(said.err), 1U) << said.err;
  EXPECT_FALSE(has("/file"));
  EXPECT_TRUE(test::e2fsck_clean(pool_.path()));
}

TEST_F(PutFails, ATreeThatVanishesIsCopiedAsFarAsItGoes) {
  make_tree("tree", 20, 100'000);
  const Said said = put_stopped(pool_.beside("tree"), [&] { std::filesystem::remove_all(pool_.beside("tree")); });
  EXPECT_EQ(said.code, 1);
  EXPECT_GE(lines(said.err), 19U) << said.err;
  EXPECT_LE(lines(said.err), 21U) << "one line for each that is gone: " << said.err;
  EXPECT_NE(said.err.find("gone before it could be copied"), std::string::npos) << said.err;
  EXPECT_LE(expect_whole("/tree", 20, 100'000), 1U);
  EXPECT_TRUE(test::e2fsck_clean(pool_.path()));
}

TEST_F(PutFails, AFileThatBecomesAFifoDoesNotHangTheCopy) {
  make_tree("tree", 2, 100'000);
  const Said said = put_stopped(pool_.beside("tree"), [&] {
    for (unsigned i = 0; i < 2; ++i) {
      const std::string path = fmt_path(pool_.beside("tree"), i);
      ASSERT_TRUE(std::filesystem::remove(path));
      ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    }
  });
  // The one that was open is whole; the other is what it is now. Nothing of either is wrong but names of attributes.
  EXPECT_LE(said.code, 1) << said.err;
  EXPECT_LE(lines(said.err), 1U) << said.err;
  EXPECT_TRUE(test::e2fsck_clean(pool_.path()));
}

}  // namespace
}  // namespace holdfast
