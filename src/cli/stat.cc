// holdfast stat: everything known of a name.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/mode.h"
#include "cli/owner.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/show.h"

namespace holdfast::cli {
namespace {

struct Known {
  std::string path;
  Stat stat;
  std::string target;                   // of a symbolic link
  std::vector<std::string> attributes;  // names of extended attributes
};

class StatCommand final : public Command {
 public:
  Description describe() const override {
    return {
        .name = "stat",
        .operands = "POOL PATH...",
        .summary = "show what is known of files",
        .details = "Shows kind, size, blocks, permissions, owner, links, times and the names of extended attributes.",
        .operands_min = 2,
        .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-L,--dereference", follow_, "follow symbolic links");
    options.add_flag("--json", json_, "as JSON: a list of objects, one for each PATH");
  }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 1, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    Json list = Json::array();
    return read_pool(operands[0], io, [&](Filesystem& fs) {
      const int code = each_path(paths, io, [&](const std::string& path) -> Status {
        HF_ASSIGN(const Known known, look(fs, path));
        if (json_) {
          list.push_back(as_json(known));
        } else {
          print(known, fs.space().block, io);
        }
        return {};
      });
      if (json_) print_json(io, list);
      return code;
    });
  }

 private:
  Result<Known> look(const Filesystem& fs, const std::string& path) const {
    const Follow follow = follow_ ? Follow::yes : Follow::no;
    Known known;
    known.path = path;
    HF_ASSIGN(known.stat, fs.stat(path, follow));
    if (known.stat.kind == FileKind::symlink) {
      HF_ASSIGN(known.target, fs.read_symlink(path));
    }
    HF_ASSIGN(known.attributes, fs.list_attributes(path, follow));
    return known;
  }

  static Json as_json(const Known& known) {
    Json json;
    json["path"] = known.path;
    json.update(stat_json(known.stat));
    if (known.stat.kind == FileKind::symlink) json["target"] = known.target;
    json["attributes"] = known.attributes;
    return json;
  }

  static void print(const Known& known, std::uint64_t block, Io& io) {
    const Stat& stat = known.stat;
    const bool link = stat.kind == FileKind::symlink;
    io.out << fmt::format("  File: {}{}{}\n", shown(io, known.path), link ? " -> " : "", shown(io, known.target));
    io.out << fmt::format(
        "  Size: {:<15} Blocks: {:<10} IO Block: {:<6} {}\n", stat.size, stat.allocated / 512, block,
        stat.kind == FileKind::regular && stat.size == 0 ? "regular empty file" : kind_text(stat.kind));
    io.out << fmt::format(" Inode: {:<15} Links: {}", stat.inode, stat.links);
    if (stat.kind == FileKind::character_device || stat.kind == FileKind::block_device) {
      io.out << fmt::format("     Device type: {},{}", stat.device_major, stat.device_minor);
    }
    io.out << fmt::format("\nAccess: ({:04o}/{})  Uid: ({:>5}/{:>8})   Gid: ({:>5}/{:>8})\n", stat.permissions,
                          mode_text(stat.kind, stat.permissions), stat.uid, user_name(stat.uid), stat.gid,
                          group_name(stat.gid));
    io.out << "Access: " << full_time(stat.accessed) << "\nModify: " << full_time(stat.modified)
           << "\nChange: " << full_time(stat.changed) << "\n Birth: " << full_time(stat.created) << '\n';
    for (const std::string& name : known.attributes) io.out << " Xattr: " << shown(io, name) << '\n';
  }

  bool follow_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_stat() { return std::make_unique<StatCommand>(); }

}  // namespace holdfast::cli
