// holdfast ls: lists names.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/interrupt.h"
#include "cli/listing.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/walk.h"

namespace holdfast::cli {
namespace {

class Ls final : public Command {
 public:
  Description describe() const override {
    return {.name = "ls",
            .operands = "POOL [PATH]...",
            .summary = "list names",
            .details = "Lists files, and what is in directories, sorted by name, as ls(1) does; without PATH the root.",
            .operands_min = 1,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-a,--all", all_, "also names that begin with a dot");
    options.add_flag("-d,--directory", themselves_, "directories themselves, not what is in them");
    options.add_flag("-h,--human-readable", style_.human, "with -l: sizes as 1.5K, 20M");
    options.add_flag("-i,--inode", style_.inodes, "inode numbers");
    options.add_flag("-l", style_.long_form, "mode, links, owner, group, size, time, name");
    options.add_flag("-R,--recursive", recursive_, "also all that is below");
    options.add_flag("--json", json_, "as JSON: a list of objects, one for each name");
  }

  int run(const Operands& operands, Io& io) override {
    Operands paths(operands.begin() + 1, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    if (paths.empty()) paths.emplace_back("/");
    std::sort(paths.begin(), paths.end());
    style_.now_seconds = std::time(nullptr);
    list_ = Json::array();
    return read_pool(operands[0], io, [&](Filesystem& fs) {
      const int code = list_all(fs, paths, io);
      if (json_) print_json(io, list_);
      return code;
    });
  }

 private:
  // Files that were named come first, then each directory.
  int list_all(const Filesystem& fs, const Operands& paths, Io& io) {
    int code = kDone;
    std::vector<Listed> files;
    std::vector<std::string> directories;
    for (const std::string& path : paths) {
      // With -l a symbolic link is itself, without it is what it leads to.
      Result<Stat> stat = fs.stat(path, style_.long_form || themselves_ ? Follow::no : Follow::yes);
      if (!stat && stat.error().code() == ENOENT) stat = fs.stat(path, Follow::no);
      if (!stat) {
        code = complain(io, stat.error());
      } else if (stat->kind == FileKind::directory && !themselves_) {
        directories.push_back(path);
      } else {
        files.push_back(describe_entry(fs, path, path, *stat, style_));
      }
    }
    show(files, {}, io);
    DirectoriesMet met;
    const bool titles = paths.size() > 1 || recursive_;
    bool first = files.empty();
    std::reverse(directories.begin(), directories.end());
    while (!directories.empty()) {
      const std::string directory = std::move(directories.back());
      directories.pop_back();
      if (const Status go_on = check_interrupt(); !go_on) return complain(io, go_on.error());
      if (!json_ && titles) io.out << (first ? "" : "\n") << shown(io, directory) << ":\n";
      first = false;
      code = std::max(code, list_directory(fs, directory, directories, met, io));
    }
    return code;
  }

  // Adds the subdirectories to `pending` when they are wanted.
  int list_directory(const Filesystem& fs, const std::string& directory, std::vector<std::string>& pending,
                     DirectoriesMet& met, Io& io) {
    const Result<std::vector<DirectoryEntry>> entries = sorted_entries(fs, directory);
    if (!entries) return complain(io, entries.error());
    int code = kDone;
    std::vector<Listed> listed;
    std::vector<std::string> below;
    const auto add = [&](const std::string& name, const std::string& path) {
      const Result<Stat> stat = fs.stat(path, Follow::no);
      if (!stat) {
        code = complain(io, stat.error());
        return;
      }
      listed.push_back(describe_entry(fs, name, path, *stat, style_));
      if (!recursive_ || stat->kind != FileKind::directory || name == "." || name == "..") return;
      if (const Status first = met.meet(stat->inode, path); first) {
        below.push_back(path);
      } else {
        code = complain(io, first.error());
      }
    };
    if (all_ && !json_) {
      add(".", directory);
      add("..", join(directory, ".."));
    }
    for (const DirectoryEntry& entry : *entries) {
      if (all_ || entry.name[0] != '.') add(entry.name, join(directory, entry.name));
    }
    show(listed, directory, io);
    pending.insert(pending.end(), below.rbegin(), below.rend());
    return code;
  }

  void show(const std::vector<Listed>& listed, const std::string& directory, Io& io) {
    if (json_) {
      for (const Listed& entry : listed) list_.push_back(entry_json(entry));
    } else {
      print_entries(listed, style_, !directory.empty(), io);
    }
  }

  bool all_ = false;
  bool themselves_ = false;
  bool recursive_ = false;
  bool json_ = false;
  ListStyle style_;
  Json list_;
};

}  // namespace

std::unique_ptr<Command> make_ls() { return std::make_unique<Ls>(); }

}  // namespace holdfast::cli
