// holdfast mv: renames inside a pool.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/destination.h"
#include "cli/path.h"
#include "cli/pool.h"

namespace holdfast::cli {
namespace {

class Mv final : public Command {
 public:
  Description describe() const override {
    return {.name = "mv",
            .operands = "POOL SOURCE... DEST",
            .summary = "rename, or move into a directory",
            .details =
                "Renames SOURCE to DEST, or moves each SOURCE into the directory DEST, as mv(1) does. What DEST "
                "named before is replaced in one step.",
            .operands_min = 3,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-n,--no-clobber", keep_, "do not replace what is there");
    options.add_flag("-f,--force", force_, "replace without asking (always so)");
    options.add_flag("-T,--no-target-directory", plain_, "DEST is a name, even when it is a directory");
  }

  int run(const Operands& operands, Io& io) override {
    const Operands sources(operands.begin() + 1, operands.end() - 1);
    const std::string& dest = operands.back();
    std::for_each(operands.begin() + 1, operands.end(), require_absolute);
    if (plain_ && sources.size() > 1) throw UsageError{"-T takes one SOURCE"};
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      const Result<Destination> destination = find_destination(fs, dest, sources.size() > 1, plain_);
      if (!destination) return complain(io, destination.error());
      return each_path(sources, io,
                       [&](const std::string& source) { return move(fs, source, destination->of(source)); });
    });
  }

 private:
  Status move(Filesystem& fs, const std::string& source, const std::string& to) const {
    HF_ASSIGN(const Stat from, fs.stat(source, has_trailing_slash(source) ? Follow::yes : Follow::no));
    const Result<Stat> there = fs.stat(to, Follow::no);
    if (there) {
      if (keep_) return {};
      if (there->inode == from.inode && without_trailing_slashes(source) == without_trailing_slashes(to)) {
        return Error(EINVAL, source, "is already the destination");
      }
      // rename(2) of one name of a file to another name of it does nothing; mv takes the first name away.
      if (there->inode == from.inode && from.kind != FileKind::directory) return fs.unlink(source);
      if (there->kind == FileKind::directory && from.kind != FileKind::directory) {
        return Error(EISDIR, to, "is a directory, and the source is none");
      }
      if (there->kind != FileKind::directory && from.kind == FileKind::directory) {
        return Error(ENOTDIR, to, "is not a directory, and the source is one");
      }
    }
    Status renamed = fs.rename(source, to, keep_ ? Rename::no_replace : Rename::replace);
    if (!renamed && renamed.error().code() == EINVAL && from.kind == FileKind::directory) {
      return Error(EINVAL, source, "a directory cannot be moved into itself");
    }
    return renamed;
  }

  bool keep_ = false;
  bool force_ = false;
  bool plain_ = false;
};

}  // namespace

std::unique_ptr<Command> make_mv() { return std::make_unique<Mv>(); }

}  // namespace holdfast::cli
