// holdfast ln: further names for files, and symbolic links.
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

class Ln final : public Command {
 public:
  Description describe() const override {
    return {.name = "ln",
            .operands = "POOL TARGET... LINK",
            .summary = "make links; with -s symbolic ones",
            .details =
                "Makes LINK another name of TARGET, or links in the directory LINK, as ln(1) does. With -s the "
                "link holds the text TARGET, which need not exist and may be relative.",
            .operands_min = 3,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-s,--symbolic", symbolic_, "symbolic links");
    options.add_flag("-f,--force", force_, "replace a LINK that is there, unless it is a directory");
    options.add_flag("-T,--no-target-directory", plain_, "LINK is a name, even when it is a directory");
  }

  int run(const Operands& operands, Io& io) override {
    const Operands targets(operands.begin() + 1, operands.end() - 1);
    const std::string& link = operands.back();
    require_absolute(link);
    if (!symbolic_) std::for_each(targets.begin(), targets.end(), require_absolute);
    if (plain_ && targets.size() > 1) throw UsageError{"-T takes one TARGET"};
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      const Result<Destination> destination = find_destination(fs, link, targets.size() > 1, plain_);
      if (!destination) return complain(io, destination.error());
      return each_path(targets, io,
                       [&](const std::string& target) { return make(fs, target, destination->of(target)); });
    });
  }

 private:
  Status make(Filesystem& fs, const std::string& target, const std::string& link) const {
    if (!symbolic_) {
      HF_ASSIGN(const Stat stat, fs.stat(target, Follow::no));
      if (stat.kind == FileKind::directory) return Error(EPERM, target, "a directory has one name only");
    }
    Status made = symbolic_ ? fs.symlink(target, link) : fs.link(target, link);
    if (made || made.error().code() != EEXIST || !force_) return made;
    HF_ASSIGN(const Stat there, fs.stat(link, Follow::no));
    if (there.kind == FileKind::directory) return Error(EISDIR, link, "is a directory", "-f does not replace it");
    if (!symbolic_) {
      HF_ASSIGN(const Stat source, fs.stat(target, Follow::no));
      if (source.inode == there.inode) return {};
    }
    HF_TRY(fs.unlink(link));
    return symbolic_ ? fs.symlink(target, link) : fs.link(target, link);
  }

  bool symbolic_ = false;
  bool force_ = false;
  bool plain_ = false;
};

}  // namespace

std::unique_ptr<Command> make_ln() { return std::make_unique<Ln>(); }

}  // namespace holdfast::cli
