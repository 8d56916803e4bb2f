#include "support/program.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "cli/program.h"

namespace holdfast::test {

Said holdfast(const std::vector<std::string>& arguments) {
  std::ostringstream out;
  std::ostringstream err;
  cli::Io io{out, err};
  Said said;
  said.code = cli::main_with(arguments, io);
  said.out = out.str();
  said.err = err.str();
  return said;
}

ProgramPool::ProgramPool(const std::string& size, const std::vector<std::string>& options)
    : directory_(tmpfs_parent().empty() ? disk_parent() : tmpfs_parent()), path_(directory_.file("pool.img")) {
  std::vector<std::string> words{"mkfs", path_, "--size", size};
  words.insert(words.end(), options.begin(), options.end());
  const Said said = holdfast(words);
  EXPECT_EQ(said.code, 0) << said.err;
}

Said ProgramPool::run(std::vector<std::string> words) const {
  for (std::string& word : words) {
    if (word == "POOL") word = path_;
  }
  return holdfast(words);
}

std::string ProgramPool::ok(const std::vector<std::string>& words) const {
  Said said = run(words);
  EXPECT_EQ(said.code, 0) << words[0] << ": " << said.err << said.out;
  EXPECT_EQ(said.err, "") << words[0];
  return std::move(said.out);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
}

int shell(const std::string& command, std::string* said) {
  std::FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return -1;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
    if (said != nullptr) said->push_back(static_cast<char>(c));
  }
  const int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace holdfast::test
