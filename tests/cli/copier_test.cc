// Goal: what is copied is the same afterwards in all that can be kept, and what goes wrong leaves no part of a file.
// Method: one of everything is copied from one directory of the host to another and compared; a source that meddles
// with its files while they are copied.
#include "cli/copier.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <sstream>

#include "cli/compare.h"
#include "cli/host_tree.h"
#include "cli/interrupt.h"
#include "support/program.h"
#include "support/sample_tree.h"

namespace holdfast::cli {
namespace {

using test::read_file;
using test::ScratchDirectory;
using test::write_file;

struct Copied {
  CopyCounts counts;
  std::string err;
};

class CopierTest : public ::testing::Test {
 protected:
  ~CopierTest() override { test::open_up(scratch_.path()); }

  std::string at(const std::string& name) const { return scratch_.file(name); }

  Copied copy(const Tree& from, const std::vector<std::string>& sources, const std::string& dest,
              std::optional<Identity> pool_file = std::nullopt) {
    std::ostringstream out;
    std::ostringstream err;
    Io io{out, err};
    Progress progress(io, false);
    HostTree to;
    Copier copier(from, to, progress, io, pool_file);
    for (const std::string& source : sources) copier.copy(source, dest);
    return {copier.counts(), err.str()};
  }

  std::uint64_t differences(const std::string& a, const std::string& b, std::string* said = nullptr) {
    std::ostringstream out;
    std::ostringstream err;
    Io io{out, err};
    Progress progress(io, false);
    Comparer comparer(host_, host_, {}, progress, io);
    comparer.compare(a, b);
    if (said != nullptr) *said = err.str();
    return comparer.differences();
  }

  // No temporary names are left anywhere.
  void expect_no_leftovers(const std::string& folder) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      EXPECT_EQ(entry.path().filename().string().rfind(".holdfast", 0), std::string::npos) << entry.path();
    }
  }

  ScratchDirectory scratch_;
  HostTree host_;
};

TEST_F(CopierTest, OneOfEverything) {
  const test::SampleTree sample = test::make_sample_tree(at("from"));
  if (geteuid() != 0) chmod(at("from/file-4095").c_str(), 0400);
  const Copied copied = copy(host_, {at("from")}, at("to"));
  EXPECT_EQ(copied.err, "");
  EXPECT_EQ(copied.counts.failures, 0U);
  EXPECT_EQ(copied.counts.files, sample.files);
  EXPECT_EQ(copied.counts.directories, sample.directories);
  EXPECT_EQ(copied.counts.symlinks, 4U);
  EXPECT_EQ(copied.counts.hard_links, 2U);
  EXPECT_EQ(copied.counts.nodes, sample.devices ? 4U : 2U);
  std::string said;
  EXPECT_EQ(differences(at("from"), at("to"), &said), 0U) << said;
  EXPECT_EQ(differences(at("to"), at("from"), &said), 0U) << "nothing was added: " << said;
  struct stat status {};
  ASSERT_EQ(stat(at("to/sparse").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 200000) << "holes stay holes";
  ASSERT_EQ(stat(at("to/file-1").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 06755U) << "set-id bits come after the owner";
  expect_no_leftovers(at("to"));
}

TEST_F(CopierTest, ReplacesFilesAndKeepsOtherNamesOfThem) {
  write_file(at("new"), "new");
  write_file(at("dest"), "old");
  std::filesystem::create_hard_link(at("dest"), at("other-name"));
  EXPECT_EQ(copy(host_, {at("new")}, at("dest")).err, "");
  EXPECT_EQ(read_file(at("dest")), "new");
  EXPECT_EQ(read_file(at("other-name")), "old");
  expect_no_leftovers(scratch_.path());
}

TEST_F(CopierTest, ReplacesASymlinkAndNotWhatItLeadsTo) {
  write_file(at("new"), "new");
  write_file(at("target"), "old");
  std::filesystem::create_symlink("target", at("dest"));
  EXPECT_EQ(copy(host_, {at("new")}, at("dest")).err, "");
  EXPECT_FALSE(std::filesystem::is_symlink(at("dest")));
  EXPECT_EQ(read_file(at("target")), "old");
}

TEST_F(CopierTest, ADirectoryIsNotReplacedByAFile) {
  write_file(at("new"), "new");
  std::filesystem::create_directories(at("dest/inside"));
  const Copied copied = copy(host_, {at("new")}, at("dest"));
  EXPECT_EQ(copied.counts.failures, 1U);
  EXPECT_NE(copied.err.find("is a directory"), std::string::npos) << copied.err;
  EXPECT_TRUE(std::filesystem::is_directory(at("dest/inside")));
  const Copied other = copy(host_, {at("dest")}, at("new"));
  EXPECT_EQ(other.counts.failures, 1U);
  EXPECT_EQ(read_file(at("new")), "new");
}

TEST_F(CopierTest, WhatThisRunMadeIsNotReplacedByIt) {
  for (const char* folder : {"a", "b"}) std::filesystem::create_directory(at(folder));
  write_file(at("a/x"), "first");
  write_file(at("b/x"), "second");
  const Copied copied = copy(host_, {at("a"), at("b")}, at("dest"));
  EXPECT_EQ(copied.counts.failures, 1U);
  EXPECT_EQ(read_file(at("dest/x")), "first");
}

TEST_F(CopierTest, HardLinksAcrossSources) {
  for (const char* folder : {"a", "b", "dest"}) std::filesystem::create_directory(at(folder));
  write_file(at("a/x"), "one");
  std::filesystem::create_hard_link(at("a/x"), at("b/y"));
  const Copied copied = copy(host_, {at("a"), at("b")}, at("dest"));
  EXPECT_EQ(copied.err, "");
  EXPECT_TRUE(std::filesystem::equivalent(at("dest/x"), at("dest/y")));
}

TEST_F(CopierTest, HardLinkOverWhatIsThere) {
  for (const char* folder : {"a", "dest"}) std::filesystem::create_directory(at(folder));
  write_file(at("a/x"), "one");
  std::filesystem::create_hard_link(at("a/x"), at("a/y"));
  write_file(at("dest/y"), "old");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(copy(host_, {at("a")}, at("dest")).err, "");
    EXPECT_TRUE(std::filesystem::equivalent(at("dest/x"), at("dest/y"))) << round;
    expect_no_leftovers(at("dest"));
  }
}

TEST_F(CopierTest, PassesOverThePool) {
  std::filesystem::create_directory(at("from"));
  write_file(at("from/a"), "a");
  write_file(at("from/pool"), "pool");
  const Copied copied = copy(host_, {at("from")}, at("to"), host_.look(at("from/pool"))->identity);
  EXPECT_EQ(copied.counts.skipped, 1U);
  EXPECT_EQ(copied.counts.failures, 0U);
  EXPECT_NE(copied.err.find("passed over"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(at("to/pool")));
  EXPECT_TRUE(std::filesystem::exists(at("to/a")));
}

TEST_F(CopierTest, NeverReplacesThePool) {
  write_file(at("a"), "a");
  write_file(at("pool"), "pool");
  const Copied copied = copy(host_, {at("a")}, at("pool"), host_.look(at("pool"))->identity);
  EXPECT_EQ(copied.counts.failures, 1U);
  EXPECT_EQ(read_file(at("pool")), "pool");
  expect_no_leftovers(scratch_.path());
}

TEST_F(CopierTest, AFileThatSaysItIsEmpty) {
  const Copied copied = copy(host_, {"/proc/self/status"}, at("status"));
  EXPECT_EQ(copied.err, "");
  EXPECT_NE(read_file(at("status")).find("VmSize"), std::string::npos);
}

TEST_F(CopierTest, ANameThatIsNotThere) {
  const Copied copied = copy(host_, {at("nothing")}, at("dest"));
  EXPECT_EQ(copied.counts.failures, 1U);
  EXPECT_EQ(copied.err, "holdfast: " + at("nothing") + ": No such file or directory\n");
}

// Does something to a file when it is opened.
class Meddler final : public HostTree {
 public:
  using Act = std::function<void(const std::string& path)>;
  explicit Meddler(Act after_open, Act before_open = nullptr)
      : after_(std::move(after_open)), before_(std::move(before_open)) {}

  Result<std::unique_ptr<SourceFile>> open(const std::string& path) const override {
    if (before_) before_(path);
    Result<std::unique_ptr<SourceFile>> file = HostTree::open(path);
    if (after_) return std::unique_ptr<SourceFile>(std::make_unique<Watched>(std::move(file).value(), path, after_));
    return file;
  }

 private:
  // Acts after the first look, when the copying has begun.
  class Watched final : public SourceFile {
   public:
    Watched(std::unique_ptr<SourceFile> file, std::string path, Act act)
        : file_(std::move(file)), path_(std::move(path)), act_(std::move(act)) {}
    Result<Node> look() const override {
      Result<Node> node = file_->look();
      if (act_) std::exchange(act_, nullptr)(path_);
      return node;
    }
    Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const override {
      return file_->read(offset, into);
    }
    Result<std::uint64_t> next_data(std::uint64_t offset) const override { return file_->next_data(offset); }
    Result<std::uint64_t> next_hole(std::uint64_t offset) const override { return file_->next_hole(offset); }

   private:
    std::unique_ptr<SourceFile> file_;
    std::string path_;
    mutable Act act_;
  };

  Act after_;
  Act before_;
};

class MeddlingTest : public CopierTest {
 protected:
  MeddlingTest() {
    std::filesystem::create_directory(at("from"));
    for (const char* name : {"from/a", "from/b", "from/c"}) write_file(at(name), std::string(2000000, name[5]));
  }

  // Copies with a meddler that acts on b; the others must arrive.
  void expect_b_left_out(const Meddler& from, const std::string& reason) {
    const Copied copied = copy(from, {at("from")}, at("to"));
    EXPECT_EQ(copied.counts.failures, 1U);
    EXPECT_EQ(copied.counts.files, 2U);
    EXPECT_NE(copied.err.find(reason), std::string::npos) << copied.err;
    EXPECT_FALSE(std::filesystem::exists(at("to/b")));
    EXPECT_EQ(read_file(at("to/a")), std::string(2000000, 'a'));
    EXPECT_EQ(read_file(at("to/c")), std::string(2000000, 'c'));
    expect_no_leftovers(at("to"));
  }

  static Meddler::Act on_b(const std::function<void(const std::string&)>& act) {
    return [act](const std::string& path) {
      if (path.back() == 'b') act(path);
    };
  }
};

TEST_F(MeddlingTest, ASourceThatGrows) {
  expect_b_left_out(Meddler(on_b([](const std::string& path) {
                      const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
                      EXPECT_EQ(write(fd, "x", 1), 1);
                      close(fd);
                    })),
                    "changed while it was copied");
}

TEST_F(MeddlingTest, ASourceThatShrinks) {
  expect_b_left_out(Meddler(on_b([](const std::string& path) { EXPECT_EQ(truncate(path.c_str(), 1000), 0); })),
                    "changed while it was copied");
}

TEST_F(MeddlingTest, ASourceWrittenInPlace) {
  expect_b_left_out(Meddler(on_b([](const std::string& path) {
                      const std::array<timespec, 2> times{timespec{5, 5}, timespec{5, 5}};
                      EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), times.data(), 0), 0);
                    })),
                    "changed while it was copied");
}

TEST_F(MeddlingTest, ASourceThatVanishes) {
  expect_b_left_out(Meddler(nullptr, on_b([](const std::string& path) { unlink(path.c_str()); })), "No such file");
}

TEST_F(MeddlingTest, ASourceThatBecomesAFifo) {
  expect_b_left_out(Meddler(nullptr, on_b([](const std::string& path) {
                              unlink(path.c_str());
                              EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
                            })),
                    "no regular file any more");
}

TEST_F(MeddlingTest, ASignalEndsTheCopyingAndLeavesWhatIsWhole) {
  const Copied copied = copy(Meddler(on_b([](const std::string&) { set_interrupt(SIGINT); })), {at("from")}, at("to"));
  set_interrupt(0);
  EXPECT_EQ(copied.counts.failures, 1U);
  EXPECT_EQ(copied.counts.files, 1U);
  EXPECT_EQ(read_file(at("to/a")), std::string(2000000, 'a'));
  EXPECT_FALSE(std::filesystem::exists(at("to/b")));
  EXPECT_FALSE(std::filesystem::exists(at("to/c")));
  struct stat from {};
  struct stat to {};
  ASSERT_EQ(stat(at("from").c_str(), &from), 0);
  ASSERT_EQ(stat(at("to").c_str(), &to), 0);
  EXPECT_EQ(from.st_mtim.tv_nsec, to.st_mtim.tv_nsec) << "the directory that was entered is finished";
}

TEST_F(CopierTest, Measure) {
  std::filesystem::create_directories(at("from/sub"));
  write_file(at("from/a"), std::string(10000, 'a'));
  write_file(at("from/sub/b"), std::string(500, 'b'));
  std::filesystem::create_hard_link(at("from/a"), at("from/sub/again"));
  const Expected expected = measure(host_, {at("from")});
  EXPECT_EQ(expected.files, 2U);
  EXPECT_EQ(expected.bytes, 10500U);
}

}  // namespace
}  // namespace holdfast::cli
