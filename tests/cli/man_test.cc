// Goal: every command has a manual page, and the page and --help speak of the same options.
// Method: options are read off the page's source and off the help's text, and compared in both directions.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "cli/command.h"
#include "cli/program.h"
#include "support/program.h"

namespace holdfast::cli {
namespace {

std::string page_of(const std::string& command) {
  const std::string first = command.substr(0, command.find(' '));
  return std::string(HOLDFAST_SOURCE_DIR "/man/holdfast") + (command.empty() ? "" : "-" + first) + ".1";
}

// "-q", "--quiet": from lines ".It Fl q , Fl -quiet" of a page.
std::set<std::string> options_of_page(const std::string& path) {
  std::set<std::string> options;
  std::istringstream page(test::read_file(path));
  for (std::string line; std::getline(page, line);) {
    if (line.rfind(".It Fl ", 0) != 0) continue;
    std::istringstream words(line);
    std::string before;
    for (std::string word; words >> word; before = word) {
      if (before == "Fl") options.insert("-" + word);
    }
  }
  return options;
}

// From lines "  -q, --quiet   text" of a help.
std::set<std::string> options_of_help(const std::string& help) {
  std::set<std::string> options;
  std::istringstream text(help.substr(help.find("\nOptions:\n")));
  for (std::string line; std::getline(text, line);) {
    if (line.rfind("  -", 0) != 0 && line.rfind("      --", 0) != 0) continue;
    std::istringstream words(line);
    for (std::string word; words >> word && word[0] == '-';) options.insert(word.substr(0, word.find_first_of(",=")));
  }
  return options;
}

TEST(Man, OptionsAreThoseOfTheHelp) {
  std::map<std::string, std::set<std::string>> helps;  // by page: `image` has two commands on one
  for (const CommandEntry& entry : commands()) {
    helps[page_of(entry.name)].merge(options_of_help(help_of(*entry.make())));
  }
  helps[page_of("")] = options_of_help(help_of_all());
  for (const auto& [page, options] : helps) {
    ASSERT_TRUE(std::filesystem::exists(page)) << page;
    EXPECT_GE(options.size(), 1U) << page;
    EXPECT_EQ(options_of_page(page), options) << page;
  }
}

TEST(Man, NoPageWithoutACommand) {
  std::set<std::string> known{page_of("")};
  for (const CommandEntry& entry : commands()) known.insert(page_of(entry.name));
  std::size_t pages = 0;
  for (const auto& file : std::filesystem::directory_iterator(HOLDFAST_SOURCE_DIR "/man")) {
    if (file.path().extension() != ".1") continue;
    ++pages;
    EXPECT_EQ(known.count(file.path().string()), 1U) << file.path();
  }
  EXPECT_EQ(pages, known.size());
}

TEST(Man, PagesAreWhole) {
  for (const CommandEntry& entry : commands()) {
    const std::string text = test::read_file(page_of(entry.name));
    for (const char* section : {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"}) {
      EXPECT_NE(text.find(std::string("\n.Sh ") + section + "\n"), std::string::npos) << entry.name << ": " << section;
    }
    EXPECT_NE(test::read_file(page_of("")).find(".It Xr " + std::filesystem::path(page_of(entry.name)).stem().string()),
              std::string::npos)
        << entry.name << " is not in holdfast.1";
  }
}

}  // namespace
}  // namespace holdfast::cli
