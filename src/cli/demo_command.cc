// `holdfast demo`: the hazard and what each policy makes of it.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>

#include "cli/command_list.h"
#include "cli/demo.h"
#include "cli/show.h"

namespace holdfast::cli {
namespace {

bool is_safe(const DemoArm& arm) { return arm.overwritten == 0; }

Json to_json(const DemoArm& arm) {
  return {{"policy", arm.name},
          {"transferred_bytes", arm.transferred},
          {"overwritten_bytes_of_b", arm.overwritten},
          {"steps", arm.steps}};
}

class Demo : public Command {
 public:
  Description describe() const override {
    Description description;
    description.name = "demo";
    description.summary = "show the hazard: a device transfer in flight against truncate";
    description.details =
        "A device (io_uring, reading a pipe into a registered buffer) is writing into file A. A is truncated, and file "
        "B gets the next free blocks. Then the device finishes. First without page counting, then with each policy of "
        "truncate. The pool is memory of this process; no privilege is needed.";
    description.operands_max = 0;
    description.section = Section::showing;
    return description;
  }

  void declare(CLI::App& options) override { options.add_flag("--json", json_, "print the outcome as JSON"); }

  int run(const Operands& /*operands*/, Io& io) override {
    const Result<std::vector<DemoArm>> arms = run_demo();
    if (!arms) return complain(io, arms.error());
    if (json_) {
      Json all = Json::array();
      for (const DemoArm& arm : *arms) all.push_back(to_json(arm));
      print_json(io, all);
    } else {
      for (const DemoArm& arm : *arms) print(io, arm);
    }
    // The first arm shows the damage; in every other one a changed byte is a failure of ours.
    return std::all_of(arms->begin() + 1, arms->end(), is_safe) ? kDone : kFailed;
  }

 private:
  static void print(Io& io, const DemoArm& arm) {
    io.out << fmt::format("{}\n", arm.name);
    for (const std::string& step : arm.steps) io.out << fmt::format("  - {}\n", step);
    io.out << fmt::format("  => {} of {} bytes of B overwritten\n\n", arm.overwritten, arm.transferred);
  }

  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_demo() { return std::make_unique<Demo>(); }

}  // namespace holdfast::cli
