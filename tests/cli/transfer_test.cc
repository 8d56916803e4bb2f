// Goal: a tree that is put into a pool and got out again is the tree, and the pool is sound.
// Method: one of everything goes in and out, with --verify and with a comparison of our own; the ways in which DEST is
// meant; a pool that fills up, and one that is in use.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include <holdfast/holdfast.h>

#include "cli/compare.h"
#include "cli/host_tree.h"
#include "support/child.h"
#include "support/program.h"
#include "support/sample_tree.h"
#include "support/skip.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using test::ProgramPool;
using test::Said;

class TransferTest : public ::testing::Test {
 protected:
  ~TransferTest() override {
    test::open_up(pool_.directory());
    const Said checked = pool_.run({"check", "--read-data", "POOL"});
    EXPECT_EQ(checked.code, 0) << checked.out << checked.err;
  }

  std::string beside(const std::string& name) const { return pool_.beside(name); }

  std::string differences(const std::string& a, const std::string& b) {
    std::ostringstream out;
    std::ostringstream err;
    Io io{out, err};
    Progress progress(io, true);
    const HostTree host;
    Comparer(host, host, {.owners = geteuid() == 0, .skip = std::nullopt}, progress, io).compare(a, b);
    return err.str();
  }

  ProgramPool pool_;
};

TEST_F(TransferTest, OneOfEverythingThereAndBack) {
  const test::SampleTree sample = test::make_sample_tree(beside("from"));
  if (geteuid() != 0) chmod(beside("from/file-4095").c_str(), 0400);
  const json put = json::parse(pool_.ok({"put", "--verify", "--json", "POOL", beside("from"), "/"}));
  EXPECT_EQ(put.at("files"), sample.files);
  EXPECT_EQ(put.at("directories"), sample.directories);
  EXPECT_EQ(put.at("symlinks"), 4);
  EXPECT_EQ(put.at("hard_links"), 2);
  EXPECT_EQ(put.at("failures"), 0);
  EXPECT_EQ(put.at("attributes_lost"), 0);
  EXPECT_EQ(put.at("verified").at("differences"), 0);
  EXPECT_EQ(put.at("verified").at("files"), sample.files + 2);
  EXPECT_LT(put.at("bytes").get<int>(), 8 << 20) << "holes are not written";
  const json got = json::parse(pool_.ok({"get", "--verify", "--json", "POOL", "/from", beside("to")}));
  EXPECT_EQ(got.at("files"), sample.files);
  EXPECT_EQ(got.at("failures"), 0);
  EXPECT_EQ(differences(beside("from"), beside("to")), "");
  EXPECT_EQ(differences(beside("to"), beside("from")), "");
  struct stat status {};
  ASSERT_EQ(stat(beside("to/sparse").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 200000) << "holes stay holes";
}

TEST_F(TransferTest, AgainOverItself) {
  test::make_sample_tree(beside("from"));
  if (geteuid() != 0) test::open_up(beside("from"));
  for (int round = 0; round < 2; ++round) {
    pool_.ok({"put", "-q", "--verify", "POOL", beside("from"), "/"});
    pool_.ok({"get", "-q", "--verify", "POOL", "/from", beside("")});
  }
  EXPECT_EQ(pool_.ok({"ls", "-a", "POOL", "/"}).find(".holdfast"), std::string::npos);
}

TEST_F(TransferTest, WhereThingsGo) {
  std::filesystem::create_directories(beside("d/sub"));
  test::write_file(beside("f"), "f");
  test::write_file(beside("d/g"), "g");
  const auto put = [&](const std::vector<std::string>& rest) {
    std::vector<std::string> words{"put", "-q", "POOL"};
    words.insert(words.end(), rest.begin(), rest.end());
    return pool_.run(words);
  };
  EXPECT_EQ(put({beside("f"), "/"}).code, 0);
  EXPECT_EQ(put({beside("f"), "/renamed"}).code, 0);
  EXPECT_EQ(put({beside("d"), "/new-directory/"}).code, 0);
  EXPECT_EQ(put({beside("d"), "/new-directory"}).code, 0);
  EXPECT_EQ(put({beside("d/."), "/new-directory/d/sub"}).code, 0);
  EXPECT_EQ(put({beside("f"), beside("d"), "/new-directory/sub"}).code, 0);
  EXPECT_EQ(pool_.ok({"ls", "-R", "POOL", "/new-directory"}),
            "/new-directory:\nd\ng\nsub\n\n/new-directory/d:\ng\nsub\n\n/new-directory/d/sub:\ng\nsub\n\n"
            "/new-directory/d/sub/sub:\n\n/new-directory/sub:\nd\nf\n\n/new-directory/sub/d:\ng\nsub\n\n"
            "/new-directory/sub/d/sub:\n");
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{beside("f"), beside("d"), "/none"},
                                             {beside("f"), beside("d"), "/f"},
                                             {beside("f"), "/none/"},
                                             {beside("f"), "/none/deeper"},
                                             {beside("f"), "/f/"},
                                             {beside("none"), "/"}}) {
    const Said said = put(wrong);
    EXPECT_EQ(said.code, 1) << wrong.back();
    EXPECT_EQ(std::count(said.err.begin(), said.err.end(), '\n'), 1) << said.err;
  }
  // The same on the way out; the root has no name to go under.
  std::filesystem::create_directory(beside("out"));
  pool_.ok({"get", "-q", "POOL", "/", beside("out")});
  EXPECT_TRUE(std::filesystem::exists(beside("out/new-directory/sub/d/g")));
  EXPECT_EQ(pool_.run({"get", "-q", "POOL", "/f", "/renamed", beside("none")}).code, 1);
  EXPECT_EQ(pool_.run({"get", "-q", "POOL", "/none", beside("out")}).code, 1);
}

TEST_F(TransferTest, SummaryAndSilence) {
  test::write_file(beside("f"), std::string(1000, 'f'));
  const std::string said = pool_.ok({"put", "POOL", beside("f"), "/"});
  EXPECT_EQ(said.rfind("1 file, 0 directories, 1000B in ", 0), 0U) << said;
  EXPECT_EQ(pool_.ok({"put", "--quiet", "POOL", beside("f"), "/"}), "");
  EXPECT_NE(pool_.ok({"get", "--verify", "POOL", "/f", beside("g")}).find("the same"), std::string::npos);
}

TEST_F(TransferTest, APoolThatFillsUp) {
  std::filesystem::create_directory(beside("from"));
  for (int i = 0; i < 20; ++i) test::write_file(beside("from/" + std::to_string(10 + i)), std::string(5 << 20, 'x'));
  const Said said = pool_.run({"put", "POOL", beside("from"), "/"});
  EXPECT_EQ(said.code, 1);
  EXPECT_EQ(std::count(said.err.begin(), said.err.end(), '\n'), 1) << said.err;
  EXPECT_NE(said.err.find("no space left"), std::string::npos) << said.err;
  const json list = json::parse(pool_.ok({"ls", "--json", "POOL", "/from"}));
  EXPECT_GE(list.size(), 5U);
  EXPECT_LT(list.size(), 20U);
  for (const json& entry : list) EXPECT_EQ(entry.at("size"), 5 << 20) << entry.at("path");
  // What did not become whole holds no space.
  pool_.ok({"rm", "-r", "POOL", "/from"});
  const json space = json::parse(pool_.ok({"df", "--json", "POOL"})).at(0);
  EXPECT_EQ(space.at("file_bytes"), 0);
  pool_.ok({"fallocate", "-l", "40M", "POOL", "/all"});
}

TEST_F(TransferTest, ThePoolInsideItsSource) {
  test::write_file(beside("f"), "f");
  const Said said = pool_.run({"put", "-q", "--verify", "POOL", pool_.directory(), "/"});
  EXPECT_EQ(said.code, 0) << said.err;
  EXPECT_NE(said.err.find("passed over: it is the pool itself"), std::string::npos) << said.err;
}

TEST_F(TransferTest, GetNeverReplacesThePool) {
  test::write_file(beside("f"), "f");
  pool_.ok({"put", "-q", "POOL", beside("f"), "/pool.img"});
  const Said said = pool_.run({"get", "-q", "POOL", "/pool.img", pool_.directory()});
  EXPECT_EQ(said.code, 1);
  EXPECT_NE(said.err.find("is the pool itself"), std::string::npos) << said.err;
}

TEST_F(TransferTest, APoolInUse) {
  test::write_file(beside("f"), "f");
  test::Child child([&](test::Child& self) -> std::string {
    Result<Device> device = Device::open(pool_.path());
    if (!device) return device.error().message();
    self.ready_and_wait();
    return "";
  });
  ASSERT_TRUE(child.wait_until_ready());
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"put", "POOL", beside("f"), "/"}, {"ls", "POOL"}, {"rm", "POOL", "/f"}, {"mkfs", "--force", "POOL"}}) {
    const Said said = pool_.run(words);
    EXPECT_EQ(said.code, 1) << words[0];
    EXPECT_NE(said.err.find("in use by pid " + std::to_string(child.pid())), std::string::npos) << said.err;
  }
  EXPECT_EQ(pool_.run({"check", "POOL"}).code, 8);
  child.go_on();
  EXPECT_EQ(child.wait().status, 0);
}

TEST_F(TransferTest, DeviceNodesNeedRoot) {
  if (geteuid() != 0) HF_SKIP_CAPABILITY("root", "only root can make device nodes");
  ASSERT_EQ(mknod(beside("null").c_str(), S_IFCHR | 0666, 0x103), 0);
  pool_.ok({"put", "-q", "POOL", beside("null"), "/"});
  std::filesystem::permissions(pool_.directory(), std::filesystem::perms::all);
  std::filesystem::permissions(pool_.path(), std::filesystem::perms(0666));
  const test::ChildEnd end = test::run_in_child([&]() -> std::string {
    if (setgid(65534) != 0 || setuid(65534) != 0) return "cannot become another user";
    const Said said = pool_.run({"get", "-q", "POOL", "/null", beside("copy")});
    return said.code == 1 && said.err.find("only root can make") != std::string::npos ? "" : said.err;
  });
  EXPECT_EQ(end.message, "");
}

}  // namespace
}  // namespace holdfast::cli
