// Goal: a process knows how many forks lie between it and the first. Method: a child and a grandchild say theirs.
#include "base/fork.h"

#include <gtest/gtest.h>

#include <string>

#include "support/child.h"

namespace holdfast {
namespace {

TEST(Fork, EachChildIsAGenerationOn) {
  const std::uint32_t here = fork_generation();
  const test::ChildEnd end = test::run_in_child([here]() -> std::string {
    if (fork_generation() != here + 1) return "child: " + std::to_string(fork_generation());
    const test::ChildEnd grandchild = test::run_in_child([here] {
      return fork_generation() == here + 2 ? std::string() : "grandchild: " + std::to_string(fork_generation());
    });
    return grandchild.message;
  });
  EXPECT_EQ(end.status, 0) << end.message;
  EXPECT_EQ(fork_generation(), here);
}

TEST(Fork, HandlersRunInTheChildOnly) {
  static int ran = 0;
  on_fork_in_child([] { ++ran; });
  const test::ChildEnd end = test::run_in_child([] { return ran == 1 ? "" : "ran " + std::to_string(ran) + " times"; });
  EXPECT_EQ(end.status, 0) << end.message;
  EXPECT_EQ(ran, 0);
}

}  // namespace
}  // namespace holdfast
