// holdfast chmod and chown: permissions and owners.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/mode.h"
#include "cli/owner.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/walk.h"

namespace holdfast::cli {
namespace {

using Change = std::function<Status(const std::string& path, const Stat& stat)>;

// Applies `change` to `path` and all below it; complains and goes on.
int change_tree(const Filesystem& fs, const std::string& path, Io& io, const Change& change) {
  int changed = kDone;
  const int walked = walk_tree(fs, path, io, [&](const std::string& place, const Stat& stat) {
    changed = std::max(changed, outcome(io, change(place, stat)));
    return Visit::go_on;
  });
  return std::max(changed, walked);
}

class Chmod final : public Command {
 public:
  Description describe() const override {
    return {.name = "chmod",
            .operands = "POOL MODE PATH...",
            .summary = "change permissions",
            .details =
                "Changes permissions, as chmod(1) does. MODE is octal (755) or symbolic (u+x,g-w, a=rX, g=u). "
                "Symbolic links are followed when named and passed over below a directory.",
            .operands_min = 3,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-R,--recursive", recursive_, "also all that is in directories");
  }

  bool takes_as_operand(const std::string& argument) const override { return ModeChange::parse(argument).has_value(); }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 2, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    const std::optional<ModeChange> change = ModeChange::parse(operands[1]);
    if (!change) throw UsageError{fmt::format("'{}' is not a mode", operands[1])};
    const std::uint32_t mask = current_umask();
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      const auto apply = [&](const std::string& path, const Stat& stat) -> Status {
        const bool directory = stat.kind == FileKind::directory;
        return fs.set_permissions(path, change->apply(stat.permissions, directory, mask));
      };
      int code = kDone;
      for (const std::string& path : paths) {
        const Result<Stat> named = fs.stat(path);
        if (!named) {
          code = complain(io, named.error());
          continue;
        }
        code = std::max(code, outcome(io, apply(path, *named)));
        if (!recursive_ || named->kind != FileKind::directory) continue;
        code = std::max(code, change_tree(fs, path, io, [&](const std::string& place, const Stat& stat) -> Status {
                          if (place == path || stat.kind == FileKind::symlink) return {};
                          return apply(place, stat);
                        }));
      }
      return code;
    });
  }

 private:
  bool recursive_ = false;
};

class Chown final : public Command {
 public:
  Description describe() const override {
    return {.name = "chown",
            .operands = "POOL OWNER[:GROUP] PATH...",
            .summary = "change owner and group",
            .details =
                "Changes owner and group, as chown(1) does: names of this machine, or numbers. \":GROUP\" changes "
                "the group alone; \"OWNER:\" takes the owner's login group. Symbolic links are followed when "
                "named, unless -h is given, and changed themselves below a directory.",
            .operands_min = 3,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-R,--recursive", recursive_, "also all that is in directories");
    options.add_flag("-h,--no-dereference", links_, "change symbolic links themselves");
  }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 2, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    const OwnerChange owner = parse_owner(operands[1]);
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      const auto apply = [&](const std::string& path, const Stat& stat, Follow follow) -> Status {
        if (!owner.uid && !owner.gid) return {};
        return fs.set_owner(path, owner.uid.value_or(stat.uid), owner.gid.value_or(stat.gid), follow);
      };
      int code = kDone;
      for (const std::string& path : paths) {
        const Follow follow = links_ || recursive_ ? Follow::no : Follow::yes;
        if (recursive_) {
          code = std::max(code, change_tree(fs, path, io, [&](const std::string& place, const Stat& stat) {
                            return apply(place, stat, Follow::no);
                          }));
          continue;
        }
        const Result<Stat> named = fs.stat(path, follow);
        code = std::max(code, named ? outcome(io, apply(path, *named, follow)) : complain(io, named.error()));
      }
      return code;
    });
  }

 private:
  bool recursive_ = false;
  bool links_ = false;
};

}  // namespace

std::unique_ptr<Command> make_chmod() { return std::make_unique<Chmod>(); }
std::unique_ptr<Command> make_chown() { return std::make_unique<Chown>(); }

}  // namespace holdfast::cli
