// holdfast badblocks: memory of a pool that is lost.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/pool.h"
#include "cli/show.h"
#include "cli/size.h"
#include "cli/walk.h"

namespace holdfast::cli {
namespace {

// A part of a lost range that a file has.
struct Owned {
  std::uint64_t offset = 0;  // of the device
  std::uint64_t length = 0;
  std::string path;
  std::uint64_t file_offset = 0;
};

bool lies_in(const Owned& part, const BadRange& range) {
  return part.offset >= range.offset && part.offset < range.offset + range.length;
}

const char* to_string(BadState state) {
  switch (state) {
    case BadState::in_use:
      return "in use";
    case BadState::withheld:
      return "withheld";
    case BadState::retired:
      return "retired";
  }
  return "";
}

Status add_of_file(Filesystem& fs, const std::string& path, const std::vector<BadRange>& ranges,
                   std::vector<Owned>& owned) {
  HF_ASSIGN(const File file, fs.open(path, Open::read | Open::no_follow));
  HF_ASSIGN(const std::vector<ExtentInfo> extents, file.extents());
  for (const ExtentInfo& extent : extents) {
    for (const BadRange& range : ranges) {
      const std::uint64_t begin = std::max(range.offset, extent.device_offset);
      const std::uint64_t end = std::min(range.offset + range.length, extent.device_offset + extent.length);
      if (range.state != BadState::in_use || begin >= end) continue;
      owned.push_back({begin, end - begin, path, extent.offset + (begin - extent.device_offset)});
    }
  }
  return {};
}

class Badblocks final : public Command {
 public:
  Description describe() const override {
    return {.name = "badblocks",
            .operands = "POOL [OFFSET LENGTH]",
            .summary = "show memory of a pool that is lost, or say that some is",
            .details =
                "Shows what is on the pool's list of bad blocks: it is never handed out. With OFFSET and LENGTH, bytes "
                "of the pool, these are lost from now on: what of them is free goes to the list. What a file has is "
                "named, and stays the file's: copy what can be read, punch it or remove the file, and say it again. "
                "The list is that of e2fsck -l and mke2fs -l.",
            .operands_min = 1,
            .operands_max = 3,
            .section = Section::looking};
  }

  void declare(CLI::App& options) override {
    options.add_flag("--json", json_, "as JSON: a list of ranges; offsets and lengths in bytes");
  }

  int run(const Operands& operands, Io& io) override {
    if (operands.size() == 2) throw UsageError{"OFFSET needs a LENGTH"};
    if (operands.size() == 1) {
      return read_pool(operands[0], io, [&](Filesystem& fs) { return show(fs, operands[0], io); });
    }
    const std::uint64_t offset = size_or_usage(operands[1], "OFFSET");
    const std::uint64_t length = size_or_usage(operands[2], "LENGTH");
    if (length == 0) throw UsageError{"the length is 0"};
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      const int told = outcome(io, fs.poison(offset, length));
      return told == kDone ? show(fs, operands[0], io) : told;
    });
  }

 private:
  int show(Filesystem& fs, const std::string& pool, Io& io) const {
    const Result<std::vector<BadRange>> ranges = fs.poisoned();
    if (!ranges) return outcome(io, Status(ranges.error()));
    const bool in_use =
        std::any_of(ranges->begin(), ranges->end(), [](const BadRange& one) { return one.state == BadState::in_use; });
    std::vector<Owned> owned;
    int code = kDone;
    if (in_use) {
      code = walk_tree(fs, "/", io, [&](const std::string& path, const Stat& stat) {
        if (stat.kind == FileKind::regular) code = std::max(code, outcome(io, add_of_file(fs, path, *ranges, owned)));
        return Visit::go_on;
      });
    }
    if (json_) {
      print_json(io, as_json(*ranges, owned));
    } else {
      print(*ranges, owned, io);
    }
    if (!in_use) return code;
    return std::max(code, outcome(io, Error(EBUSY, pool, "lost memory is in use, which no list on the pool says",
                                            "punch what files have of it, or remove them, and say it again")));
  }

  static void print(const std::vector<BadRange>& ranges, const std::vector<Owned>& owned, Io& io) {
    if (ranges.empty()) return;
    io.out << fmt::format("{:>16} {:>16}  {}\n", "Offset", "Length", "State");
    for (const BadRange& range : ranges) {
      io.out << fmt::format("{:>16} {:>16}  {}\n", range.offset, range.length, to_string(range.state));
      for (const Owned& part : owned) {
        if (!lies_in(part, range)) continue;
        io.out << fmt::format("{:>16} {:>16}    {} at byte {}\n", part.offset, part.length, shown(io, part.path),
                              part.file_offset);
      }
    }
  }

  static Json as_json(const std::vector<BadRange>& ranges, const std::vector<Owned>& owned) {
    Json list = Json::array();
    for (const BadRange& range : ranges) {
      Json json{{"offset", range.offset}, {"length", range.length}, {"state", to_string(range.state)}};
      json["files"] = Json::array();
      for (const Owned& part : owned) {
        if (!lies_in(part, range)) continue;
        json["files"].push_back({{"path", part.path},
                                 {"offset", part.file_offset},
                                 {"device_offset", part.offset},
                                 {"length", part.length}});
      }
      list.push_back(std::move(json));
    }
    return list;
  }

  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_badblocks() { return std::make_unique<Badblocks>(); }

}  // namespace holdfast::cli
