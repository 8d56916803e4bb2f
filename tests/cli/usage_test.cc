// Goal: what is typed wrong gives one line and exit code 2 (16 for check), and every command explains itself.
// Method: every command with no operands, too many, an unknown option and --help; names that look like syntax.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "cli/command.h"
#include "cli/program.h"
#include "support/program.h"

namespace holdfast::cli {
namespace {

using test::holdfast;
using test::Said;

std::vector<std::string> words_of(const std::string& name) {
  std::istringstream stream(name);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

int usage_code(const std::string& name) { return name == "check" ? 16 : 2; }

bool is_one_line(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n') == 1 && text.back() == '\n';
}

TEST(Usage, EveryCommandHasHelp) {
  for (const CommandEntry& entry : commands()) {
    std::vector<std::string> words = words_of(entry.name);
    words.emplace_back("--help");
    const Said said = holdfast(words);
    EXPECT_EQ(said.code, 0) << entry.name;
    EXPECT_EQ(said.err, "") << entry.name;
    EXPECT_EQ(said.out.rfind(std::string("Usage: holdfast ") + entry.name + " ", 0), 0U) << said.out;
    EXPECT_NE(said.out.find("--help"), std::string::npos);
    EXPECT_EQ(entry.make()->describe().name, entry.name);
  }
}

TEST(Usage, UnknownOption) {
  for (const CommandEntry& entry : commands()) {
    for (const char* option : {"--no-such-option", "-Z", "--no-such-option=1"}) {
      std::vector<std::string> words = words_of(entry.name);
      words.insert(words.end(), {option, "/nowhere/pool", "1", "1", "/a", "/b"});
      const Said said = holdfast(words);
      EXPECT_EQ(said.code, usage_code(entry.name)) << entry.name << ' ' << option << said.err;
      EXPECT_TRUE(is_one_line(said.err)) << said.err;
      EXPECT_EQ(said.err.rfind("holdfast: ", 0), 0U);
      EXPECT_NE(said.err.find("--help"), std::string::npos) << "the remedy";
    }
  }
}

TEST(Usage, NumbersOfOperands) {
  for (const CommandEntry& entry : commands()) {
    const Description description = entry.make()->describe();
    std::vector<std::string> words = words_of(entry.name);
    if (description.operands_min > 0) {
      words.insert(words.end(), description.operands_min - 1, "/x");
      const Said few = holdfast(words);
      EXPECT_EQ(few.code, usage_code(entry.name)) << entry.name;
      EXPECT_TRUE(is_one_line(few.err)) << few.err;
    }
    if (description.operands_max != kManyOperands) {
      words = words_of(entry.name);
      words.insert(words.end(), description.operands_max + 1, "/x");
      const Said many = holdfast(words);
      EXPECT_EQ(many.code, usage_code(entry.name)) << entry.name;
      EXPECT_TRUE(is_one_line(many.err)) << many.err;
    }
  }
}

TEST(Usage, TheProgramItself) {
  EXPECT_EQ(holdfast({"--version"}).out, "holdfast " HOLDFAST_VERSION_STRING "\n");
  const Said help = holdfast({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const CommandEntry& entry : commands()) {
    EXPECT_NE(help.out.find(std::string("\n  ") + entry.name + " "), std::string::npos) << entry.name;
  }
  EXPECT_EQ(holdfast({}).code, 2);
  EXPECT_EQ(holdfast({"frobnicate"}).code, 2);
  EXPECT_EQ(holdfast({"--frobnicate"}).code, 2);
  EXPECT_EQ(holdfast({""}).code, 2);
  EXPECT_EQ(holdfast({"image"}).code, 2);
  EXPECT_EQ(holdfast({"image", "frobnicate"}).code, 2);
  EXPECT_EQ(holdfast({"image", "--help"}).code, 0);
  EXPECT_EQ(holdfast({"help", "ls"}).out, holdfast({"ls", "--help"}).out);
}

TEST(Usage, WrongValues) {
  const std::vector<std::vector<std::string>> wrong{
      {"mkfs", "/x/p", "--size", "12Q"},
      {"mkfs", "/x/p", "--size", "0"},
      {"mkfs", "/x/p", "--size", "99999999T"},
      {"mkfs", "/x/p", "--size"},
      {"mkfs", "/x/p", "--size", "1G", "--cluster", "3K"},
      {"mkfs", "/x/p", "--size", "1G", "--cluster", "4M"},
      {"mkfs", "/x/p", "--size", "1G", "--page-size", "8K"},
      {"mkfs", "/x/p", "--size", "1G", "--label", "seventeen letters"},
      {"ls", "/x/p", "relative"},
      {"cat", "/x/p", "relative"},
      {"put", "/x/p", "/a", "relative"},
      {"get", "/x/p", "relative", "/tmp"},
      {"truncate", "/x/p", "/a"},
      {"truncate", "-s", "1Q", "/x/p", "/a"},
      {"truncate", "-s", "%0", "/x/p", "/a"},
      {"fallocate", "/x/p", "/a"},
      {"fallocate", "-l", "0", "/x/p", "/a"},
      {"fallocate", "-l", "1", "-o", "9223372036854775807", "/x/p", "/a"},
      {"fallocate", "-n", "-z", "-l", "1", "/x/p", "/a"},
      {"punch", "/x/p", "zero", "1", "/a"},
      {"punch", "/x/p", "0", "0", "/a"},
      {"chmod", "/x/p", "u+q", "/a"},
      {"chmod", "/x/p", "999", "/a"},
      {"chown", "/x/p", "no-such-user-here", "/a"},
      {"mkdir", "-m", "q", "/x/p", "/a"},
      {"mv", "-T", "/x/p", "/a", "/b", "/c"},
      {"ls", "/x/p", ""},
  };
  for (const std::vector<std::string>& words : wrong) {
    const Said said = holdfast(words);
    EXPECT_EQ(said.code, 2) << words[0] << ' ' << words.back() << ": " << said.err;
    EXPECT_TRUE(is_one_line(said.err)) << said.err;
    EXPECT_EQ(said.out, "");
  }
}

TEST(Usage, NamesThatLookLikeSyntaxAreNames) {
  // None of these pools is there, and that is what must be said: not that an option or a command is wrong.
  for (const char* name : {"++", "[x]", "ls", "%%", "-", "a=b", "@file", "{}"}) {
    const Said said = holdfast({"ls", std::string("/nowhere/") + name});
    EXPECT_EQ(said.code, 1) << name;
    const Said bare = holdfast({"df", name});
    EXPECT_EQ(bare.code, 1) << name << bare.err;
    EXPECT_EQ(bare.err.rfind(std::string("holdfast: ") + name + ": ", 0), 0U) << bare.err;
  }
  const Said dashed = holdfast({"df", "--", "--json"});
  EXPECT_EQ(dashed.code, 1);
  EXPECT_EQ(dashed.err.rfind("holdfast: --json: ", 0), 0U) << dashed.err;
}

}  // namespace
}  // namespace holdfast::cli
