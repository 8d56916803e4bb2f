// `holdfast bench`: the performance table.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cerrno>
#include <fstream>

#include "cli/bench.h"
#include "cli/command_list.h"

namespace holdfast::cli {
namespace {

Status write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.close();
  if (!file) return Error(EIO, path, "could not be written");
  return {};
}

bool matches(const bench::Case& what, const std::string& filter) {
  if (filter.empty()) return true;
  const bool is_number = filter.find_first_not_of("0123456789") == std::string::npos;
  if (is_number) return filter == std::to_string(what.row);
  return (what.name + " " + what.against).find(filter) != std::string::npos;
}

class Bench : public Command {
 public:
  Description describe() const override {
    Description description;
    description.name = "bench";
    description.operands = "[FILTER]";
    description.summary = "measure: ours and the comparators side by side in one run";
    description.details =
        "Runs every row of the performance table, or those whose number is FILTER or whose text contains it. Ours and "
        "the comparator take turns; the ratio is what counts. What needs root or a feature that the machine lacks is "
        "listed as not measured, with the reason.";
    description.operands_max = 1;
    description.section = Section::showing;
    return description;
  }

  void declare(CLI::App& options) override {
    options.add_option("--json", json_, "write the results to FILE as JSON")->option_text("FILE");
    options.add_option("--html", html_, "write a page with plots to FILE")->option_text("FILE");
    options.add_flag("--list", list_, "list the rows and measure nothing");
  }

  int run(const Operands& operands, Io& io) override {
    const std::string filter = operands.empty() ? "" : operands[0];
    const std::vector<bench::Case> cases = bench::all_cases();
    std::vector<bench::Outcome> outcomes;
    for (const bench::Case& what : cases) {
      if (!matches(what, filter)) continue;
      if (list_) {
        io.out << fmt::format("{:>3}  {}{}{}\n", what.row, what.name, what.against.empty() ? "" : " against ",
                              what.against);
        continue;
      }
      if (io.err_is_terminal) io.err << fmt::format("\r\033[K{}: {}", what.row, what.name) << std::flush;
      outcomes.push_back(bench::run(what));
    }
    if (io.err_is_terminal && !list_) io.err << "\r\033[K" << std::flush;
    if (list_) return kDone;
    if (outcomes.empty()) return complain(io, Error(EINVAL, filter, "no row has this number or text"));
    io.out << bench::machine_description() << "\n" << bench::as_table(outcomes);
    if (!json_.empty()) {
      if (const Status written = write_file(json_, bench::as_json(outcomes)); !written) {
        return complain(io, written.error());
      }
    }
    if (!html_.empty()) {
      if (const Status written = write_file(html_, bench::as_html(outcomes)); !written) {
        return complain(io, written.error());
      }
    }
    return kDone;
  }

 private:
  std::string json_;
  std::string html_;
  bool list_ = false;
};

}  // namespace

std::unique_ptr<Command> make_bench() { return std::make_unique<Bench>(); }

}  // namespace holdfast::cli
