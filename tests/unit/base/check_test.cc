// Goal: a failed check says what it found, from threads without descriptors, too.
// Method: a child whose standard error is a file; the check fails on a thread with an empty table of descriptors.
#include "base/check.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "support/child.h"
#include "support/scratch.h"

namespace holdfast::test {
namespace {

TEST(Check, SpeaksFromAThreadWithoutDescriptors) {
  ScratchDirectory scratch(tmpfs_parent());
  const std::string said = scratch.file("said");
  const ChildEnd end = run_in_child([&said]() -> std::string {
    const int fd = open(said.c_str(), O_WRONLY | O_CREAT, 0600);
    dup2(fd, STDERR_FILENO);
    std::thread([] {
      if (unshare(CLONE_FILES) != 0) return;
      close_range(0, ~0U, 0);
      HF_CHECK(2 + 2 == 5, "it is {}", 4);
    }).join();
    return "it went on";
  });
  EXPECT_EQ(end.signal, SIGABRT) << end.message;
  std::ifstream file(said);
  const std::string words(std::istreambuf_iterator<char>(file), {});
  EXPECT_NE(words.find("check failed: 2 + 2 == 5: it is 4\n"), std::string::npos) << words;
}

}  // namespace
}  // namespace holdfast::test
