// holdfast mkdir: new directories.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/mode.h"
#include "cli/path.h"
#include "cli/pool.h"

namespace holdfast::cli {
namespace {

class Mkdir final : public Command {
 public:
  Description describe() const override {
    return {.name = "mkdir",
            .operands = "POOL PATH...",
            .summary = "make directories",
            .details = "Makes the directories, as mkdir(1) does.",
            .operands_min = 2,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-p,--parents", parents_, "make what is missing on the way; no error if it is there");
    options.add_option("-m,--mode", mode_, "permissions, as chmod takes them; default a=rwx less the umask")
        ->type_name("MODE");
  }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 1, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    mask_ = current_umask();
    if (!mode_.empty()) {
      change_ = ModeChange::parse(mode_);
      if (!change_) throw UsageError{fmt::format("'{}' is not a mode", mode_)};
    }
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      return each_path(paths, io, [&](const std::string& path) { return make(fs, path); });
    });
  }

 private:
  Status make(Filesystem& fs, const std::string& path) const {
    if (parents_) {
      HF_ASSIGN(const bool there, is_directory(fs, path));
      if (there) return {};
      HF_TRY(make_way(fs, path));
      HF_ASSIGN(const bool made, is_directory(fs, path));  // "/a/." once "/a" is there
      if (made) return {};
    }
    HF_TRY(fs.make_directory(path, 0777U & ~mask_));
    if (!change_) return {};
    HF_ASSIGN(const Stat made, fs.stat(path));
    return fs.set_permissions(path, change_->apply(0777, true, mask_) | (made.permissions & 02000U));
  }

  // The directories above `path`. Those that are made can be written by who made them, whatever the umask says.
  Status make_way(Filesystem& fs, const std::string& path) const {
    for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const std::string above = path.substr(0, slash);
      if (without_trailing_slashes(path).size() <= above.size()) break;
      HF_ASSIGN(const bool there, is_directory(fs, above));
      if (!there) HF_TRY(fs.make_directory(above, (0777U & ~mask_) | 0300U));
    }
    return {};
  }

  // ENOTDIR when something else has the name.
  static Result<bool> is_directory(const Filesystem& fs, const std::string& path) {
    const Result<Stat> stat = fs.stat(path);
    if (!stat && stat.error().code() == ENOENT) return false;
    if (!stat) return stat.error();
    if (stat->kind != FileKind::directory) return Error(EEXIST, path, "there already, and not a directory");
    return true;
  }

  bool parents_ = false;
  std::string mode_;
  std::optional<ModeChange> change_;
  std::uint32_t mask_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_mkdir() { return std::make_unique<Mkdir>(); }

}  // namespace holdfast::cli
