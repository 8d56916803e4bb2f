// holdfast rm: removes files and, when asked, whole directories.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/interrupt.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/walk.h"

namespace holdfast::cli {
namespace {

class Rm final : public Command {
 public:
  Description describe() const override {
    return {.name = "rm",
            .operands = "POOL PATH...",
            .summary = "remove files; with -r whole directories",
            .details =
                "Removes the names, as rm(1) does. Symbolic links are removed, never followed. The root of the "
                "pool, and names that end in . or .., are refused.",
            .operands_min = 2,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-r,-R,--recursive", recursive_, "directories too, with all that is in them");
    options.add_flag("-f,--force", force_, "what is not there is no error");
    options.add_flag("-d,--dir", empty_directories_, "empty directories too");
  }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 1, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      return each_path(paths, io, [&](const std::string& path) { return remove(fs, path, io); });
    });
  }

 private:
  Status remove(Filesystem& fs, const std::string& path, Io& io) const {
    if (last_name(path) == "/") return Error(EPERM, path, "the root of the pool stays", "name what is in it");
    if (ends_in_dots(path)) return Error(EINVAL, path, "refused: the name ends in . or ..");
    const Result<Stat> stat = fs.stat(path, has_trailing_slash(path) ? Follow::yes : Follow::no);
    if (!stat) {
      if (force_ && (stat.error().code() == ENOENT || stat.error().code() == ENOTDIR)) return {};
      return stat.error();
    }
    if (stat->kind != FileKind::directory) return fs.unlink(path);
    if (recursive_) {
      DirectoriesMet met;
      return remove_tree(fs, path, met, io);
    }
    if (empty_directories_) return fs.remove_directory(path);
    return Error(EISDIR, path, "is a directory", "remove it with -r");
  }

  // Removes what can be removed; the first reason why something stays is the result, the others are told.
  static Status remove_tree(Filesystem& fs, const std::string& directory, DirectoriesMet& met, Io& io) {
    HF_TRY(check_interrupt());
    HF_ASSIGN(const Stat stat, fs.stat(directory, Follow::no));
    HF_TRY(met.meet(stat.inode, directory));
    HF_ASSIGN(const std::vector<DirectoryEntry> entries, sorted_entries(fs, directory));
    Status first;
    for (const DirectoryEntry& entry : entries) {
      const std::string path = join(directory, entry.name);
      Status removed = entry.kind == FileKind::directory ? remove_tree(fs, path, met, io) : fs.unlink(path);
      if (removed) continue;
      if (interrupted()) return removed;
      if (!first) complain(io, first.error());
      first = std::move(removed);
    }
    return first ? fs.remove_directory(directory) : std::move(first);
  }

  bool recursive_ = false;
  bool force_ = false;
  bool empty_directories_ = false;
};

}  // namespace

std::unique_ptr<Command> make_rm() { return std::make_unique<Rm>(); }

}  // namespace holdfast::cli
