// The program `holdfast` inside the test's process, with what it says.
#pragma once

#include <string>
#include <vector>

#include "support/scratch.h"

namespace holdfast::test {

struct Said {
  int code = 0;
  std::string out;
  std::string err;
};

// main_with with these arguments.
Said holdfast(const std::vector<std::string>& arguments);

// A new pool on tmpfs with the scratch directory that it lies in.
class ProgramPool {
 public:
  explicit ProgramPool(const std::string& size = "64M", const std::vector<std::string>& options = {});

  const std::string& path() const { return path_; }
  // A path beside the pool.
  std::string beside(const std::string& name) const { return directory_.file(name); }
  const std::string& directory() const { return directory_.path(); }

  // holdfast COMMAND [OPTION]... POOL REST...: the pool is put where "POOL" stands.
  Said run(std::vector<std::string> words) const;
  // The same, which must succeed; returns what was printed.
  std::string ok(const std::vector<std::string>& words) const;

 private:
  ScratchDirectory directory_;
  std::string path_;
};

// Whole files of the host.
std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);

// The exit code of a shell command; -1 when it did not exit. Output goes to `said` when given.
int shell(const std::string& command, std::string* said = nullptr);

}  // namespace holdfast::test
