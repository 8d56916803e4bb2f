// holdfast check: verifies a pool and changes nothing.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>

#include "base/result.h"
#include "cli/carrier.h"
#include "cli/checker.h"
#include "cli/command_list.h"
#include "cli/e2fsck.h"
#include "cli/interrupt.h"
#include "cli/pool.h"
#include "cli/show.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

// As fsck(8).
constexpr int kClean = 0;
constexpr int kErrorsLeft = 4;
constexpr int kCouldNotRun = 8;
constexpr int kCheckUsage = 16;

int exit_code_of(const Error& error) { return error.code() == EUCLEAN ? kErrorsLeft : kCouldNotRun; }

// e2fsck adds bits up: errors that made it give up (12) are errors all the same.
int exit_code_of(const E2fsckVerdict& verdict) {
  if (verdict.exit_code == kClean) return kClean;
  return (verdict.exit_code & kErrorsLeft) != 0 ? kErrorsLeft : kCouldNotRun;
}

class Check final : public Command {
 public:
  Description describe() const override {
    return {.name = "check",
            .operands = "POOL",
            .summary = "verify a pool",
            .details =
                "Mounts the pool read-only and looks at everything in it: every inode, the map of its blocks, every "
                "name; that no block belongs to two files and no inode lacks a name; link counts, bitmaps, checksums "
                "and counts. Then it goes through the tree by name. Where e2fsck is installed and can read the pool, "
                "e2fsck -fn is asked, too, and the worse verdict counts. Nothing is changed. Exit status as fsck: 0 "
                "clean, 4 errors, 8 could not run, 16 usage.",
            .operands_min = 1,
            .operands_max = 1,
            .section = Section::pools};
  }

  void declare(CLI::App& options) override {
    options.add_flag("--read-data", read_data_, "also read every byte of every file");
    options.add_flag("--no-e2fsck", alone_, "do not ask e2fsck");
    options.add_flag("--json", json_, "as JSON");
  }

  int usage_code() const override { return kCheckUsage; }

  int run(const Operands& operands, Io& io) override {
    const std::string& pool = operands[0];
    Result<Device> device = Device::open_read_only(pool);
    if (!device) return complain_as(io, device.error());
    const Carrier carrier = device->carrier();
    CheckReport report;
    int code = kClean;
    Result<Filesystem> fs = Filesystem::mount(std::move(device).value(), {.read_only = true});
    RecoveryInfo recovery;
    if (fs) {
      recovery = fs->recovery();
      report = check_pool(*fs, read_data_);
      code = report.problems.empty() ? kClean : kErrorsLeft;
    } else {
      code = complain_as(io, fs.error());
    }
    if (interrupted()) return complain_as(io, check_interrupt().error());
    if (code == kCouldNotRun) return code;
    // Of a pool that is too damaged to be mounted the verdict is known.
    std::optional<E2fsckVerdict> second;
    if (fs && !alone_ && readable_by_tools(carrier) && recovery.transactions == 0) {
      Result<std::optional<E2fsckVerdict>> verdict = ask_e2fsck(pool);
      if (!verdict) return complain_as(io, verdict.error());
      second = std::move(verdict).value();
      if (second) code = std::max(code, exit_code_of(*second));
    }
    // Half a look finds damage, but does not say that there is none.
    if (report.unverified && !second && code == kClean) return complain_as(io, *report.unverified);
    if (json_) {
      print_json(io, as_json(pool, report, recovery, fs.has_value(), second, code));
    } else {
      if (recovery.transactions != 0) {
        io.out << fmt::format("{}: {} of the journal looked at in memory, with {}; the next mount replays them\n",
                              shown(io, pool), counted(recovery.transactions, "transaction", "transactions"),
                              counted(recovery.blocks, "block", "blocks"));
      }
      print(io, pool, report, fs.has_value(), second, why_not(carrier, fs.has_value(), recovery));
    }
    return code;
  }

 private:
  static int complain_as(Io& io, const Error& error) {
    complain(io, error);
    return exit_code_of(error);
  }

  // Why there is no second verdict.
  std::string why_not(Carrier carrier, bool mounted, const RecoveryInfo& recovery) const {
    if (alone_) return "not asked";
    if (!mounted) return "not asked: the pool is too damaged to be mounted";
    if (!readable_by_tools(carrier)) {
      return fmt::format("not asked: it cannot read a {}; see holdfast image export", carrier_text(carrier));
    }
    if (recovery.transactions != 0) return "not asked: it does not look into the journal without replaying it";
    return "not asked: it is not installed";
  }

  static void print(Io& io, const std::string& pool, const CheckReport& report, bool mounted,
                    const std::optional<E2fsckVerdict>& second, const std::string& why_not) {
    const std::string name = shown(io, pool);
    for (const std::string& problem : report.problems) io.out << name << ": " << one_line(problem) << '\n';
    if (report.problems_untold > 0) io.out << fmt::format("{}: and {} more\n", name, report.problems_untold);
    if (mounted) {
      const std::string read = report.bytes_read > 0 ? ", " + human_size(report.bytes_read) + "B read" : "";
      io.out << fmt::format("{}: {}: {}, {}, {}, {}, {}, {}, {}B{}\n", name,
                            report.problems.empty() ? "clean" : "damaged", counted(report.files, "file", "files"),
                            counted(report.directories, "directory", "directories"),
                            counted(report.symlinks, "symbolic link", "symbolic links"),
                            counted(report.nodes, "node", "nodes"), counted(report.names, "name", "names"),
                            counted(report.extents, "extent", "extents"), human_size(report.extent_bytes), read);
    }
    if (!second) {
      io.out << fmt::format("{}: e2fsck {}\n", name, why_not);
      return;
    }
    const char* const verdict = second->exit_code == kClean ? "finds nothing" : "finds errors";
    io.out << fmt::format("{}: e2fsck -fn {} (exit {})\n", name, verdict, second->exit_code);
    if (second->exit_code == kClean) return;
    for (const std::string& line : second->lines) io.out << "  " << one_line(line) << '\n';
  }

  static Json as_json(const std::string& pool, const CheckReport& report, const RecoveryInfo& recovery, bool mounted,
                      const std::optional<E2fsckVerdict>& second, int code) {
    Json json;
    json["pool"] = pool;
    json["clean"] = code == kClean;
    json["exit"] = code;
    json["mounted"] = mounted;
    json["files"] = report.files;
    json["directories"] = report.directories;
    json["symlinks"] = report.symlinks;
    json["nodes"] = report.nodes;
    json["names"] = report.names;
    json["extents"] = report.extents;
    json["extent_bytes"] = report.extent_bytes;
    json["bytes_read"] = report.bytes_read;
    json["journal_transactions"] = recovery.transactions;
    json["problems"] = report.problems;
    json["problems_untold"] = report.problems_untold;
    json["verified"] = mounted && !report.unverified;
    if (second) {
      json["e2fsck"] = {{"exit", second->exit_code}, {"output", second->lines}};
    } else {
      json["e2fsck"] = nullptr;
    }
    return json;
  }

  bool read_data_ = false;
  bool alone_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_check() { return std::make_unique<Check>(); }

}  // namespace holdfast::cli
