// Goal: no schedule of the protocol's small programs breaks it. Method: explorer.h over the real code of base,
// pagemap, mapping and layout.
//
//   explore [--preemptions N] [--delays N] [--schedules N] [--list] [PROGRAM...]
//
// Without --preemptions there are at most three. A line for each program: schedules,
// the most decisions in one, seconds. Exit 0: nothing was found; 3: something was, and the schedule is printed.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "explore/file_scene.h"

namespace {

using namespace holdfast::explore;

struct Wish {
  Bounds bounds;
  std::vector<std::string> names;
  bool list = false;
};

bool parse(int count, char** arguments, Wish& wish) {
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    const auto number = [&]() { return i + 1 < count ? std::strtoull(arguments[++i], nullptr, 10) : 0; };
    if (argument == "--preemptions") {
      wish.bounds.preemptions = static_cast<unsigned>(number());
    } else if (argument == "--delays") {
      wish.bounds.delays = static_cast<unsigned>(number());
    } else if (argument == "--schedules") {
      wish.bounds.schedules = number();
    } else if (argument == "--list") {
      wish.list = true;
    } else if (argument.rfind("--", 0) == 0) {
      return false;
    } else {
      wish.names.push_back(argument);
    }
  }
  return std::all_of(wish.names.begin(), wish.names.end(), [](const std::string& name) {
    return std::any_of(programs().begin(), programs().end(), [&](const Program& one) { return name == one.name; });
  });
}

bool is_wanted(const Wish& wish, const Program& program) {
  return wish.names.empty() || std::find(wish.names.begin(), wish.names.end(), program.name) != wish.names.end();
}

// False: something was found.
bool run(const Program& program, const Bounds& bounds) {
  fmt::print("{:<20} ", program.name);
  static_cast<void>(std::fflush(stdout));
  const auto start = std::chrono::steady_clock::now();
  const Findings findings = explore(program, bounds);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (findings.failure) {
    fmt::print("found after {} schedules: {}\n{}", findings.schedules, *findings.failure, findings.schedule);
    return false;
  }
  fmt::print("{:>9} schedules{} {:>4} decisions {:>7.1f} s  {}\n", findings.schedules,
             findings.all ? "," : " (not all),", findings.decisions_max, took.count(), program.about);
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  Wish wish;
  if (!parse(count, arguments, wish)) {
    fmt::print(stderr, "explore: no such option or program; --list names the programs\n");
    return 2;
  }
  bool clean = true;
  for (const Program& program : programs()) {
    if (wish.list) {
      fmt::print("{:<20} {}\n", program.name, program.about);
    } else if (is_wanted(wish, program)) {
      clean = run(program, wish.bounds) && clean;
    }
  }
  return clean ? 0 : 3;
}
