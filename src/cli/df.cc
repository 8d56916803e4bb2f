// holdfast df: space, and how much of it can be mapped in large units.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "cli/command_list.h"
#include "cli/pool.h"
#include "cli/show.h"
#include "cli/size.h"
#include "cli/walk.h"

namespace holdfast::cli {
namespace {

struct Mapped {
  std::uint64_t files = 0;
  UnitReport units;

  // Of what lies in whole units of files, the part that lies so that one entry can map it, on a carrier that can.
  double share() const {
    const std::uint64_t whole = units.whole_units();
    return whole == 0 ? 0.0
                      : static_cast<double>(units.in_1g + units.in_2m + units.carrier) / static_cast<double>(whole);
  }
  std::uint64_t bytes() const { return units.whole_units() + units.file_end; }
};

struct Line {
  const char* json;
  const char* text;
  std::uint64_t bytes;
};

std::vector<Line> lines_of(const UnitReport& units) {
  return {{"in_1g", "in units of 1 GiB", units.in_1g},
          {"in_2m", "in units of 2 MiB", units.in_2m},
          {"carrier", "lie in units of 2 MiB, which the carrier keeps in smaller pages", units.carrier},
          {"not_congruent", "in one piece that begins no unit of the device", units.not_congruent},
          {"scattered", "in several pieces", units.scattered},
          {"holes", "beside holes", units.holes},
          {"file_end", "behind the last whole unit of their file", units.file_end}};
}

class Df final : public Command {
 public:
  Description describe() const override {
    return {.name = "df",
            .operands = "POOL...",
            .summary = "show space, and the share that maps in units of 2 MiB",
            .details =
                "Shows the space of each pool: total, used, free, and what is in quarantine; and which share of the "
                "whole 2 MiB of its files lies so that it can be mapped in units of 2 MiB. What the carrier makes of "
                "that, and why the rest cannot, is shown by --units.",
            .operands_min = 1,
            .section = Section::looking};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-b,--bytes", bytes_, "bytes, not 1.5G");
    options.add_flag("-u,--units", units_, "also the bytes of files by the units they can be mapped in");
    options.add_flag("--json", json_, "as JSON: a list of objects, one for each POOL; sizes in bytes");
  }

  int run(const Operands& operands, Io& io) override {
    Json list = Json::array();
    int code = kDone;
    bool titled = false;
    for (const std::string& pool : operands) {
      code = std::max(code, read_pool(pool, io, [&](Filesystem& fs) {
                        Mapped mapped;
                        const int looked = look_at_files(fs, mapped, io);
                        const SpaceInfo space = fs.space();
                        if (json_) {
                          list.push_back(as_json(pool, space, mapped));
                          return looked;
                        }
                        if (!titled) print_title(io);
                        titled = true;
                        print(pool, space, mapped, io);
                        return looked;
                      }));
    }
    if (json_) print_json(io, list);
    return code;
  }

 private:
  static int look_at_files(Filesystem& fs, Mapped& mapped, Io& io) {
    int code = kDone;
    const int walked = walk_tree(fs, "/", io, [&](const std::string& path, const Stat& stat) {
      if (stat.kind != FileKind::regular) return Visit::go_on;
      ++mapped.files;
      if (stat.allocated == 0) return Visit::go_on;
      code = std::max(code, outcome(io, add_file(fs, path, mapped)));
      return Visit::go_on;
    });
    return std::max(code, walked);
  }

  static Status add_file(Filesystem& fs, const std::string& path, Mapped& mapped) {
    HF_ASSIGN(const File file, fs.open(path, Open::read | Open::no_follow));
    HF_ASSIGN(const UnitReport units, file.units());
    mapped.units += units;
    return {};
  }

  static void print_title(Io& io) {
    io.out << fmt::format("{:>10} {:>10} {:>10} {:>11} {:>5} {:>8}  {}\n", "Size", "Used", "Free", "Quarantined",
                          "Use%", "In 2M", "Pool");
  }

  std::string amount(std::uint64_t bytes) const { return bytes_ ? fmt::format("{}", bytes) : human_size(bytes); }

  void print(const std::string& pool, const SpaceInfo& space, const Mapped& mapped, Io& io) const {
    const std::uint64_t used = space.total - std::min(space.free, space.total);
    const std::uint64_t percent = space.total == 0 ? 0 : (used * 100 + space.total - 1) / space.total;
    const std::string share = mapped.units.whole_units() == 0 ? "-" : fmt::format("{:.1f}%", mapped.share() * 100);
    io.out << fmt::format("{:>10} {:>10} {:>10} {:>11} {:>4}% {:>8}  {}\n", amount(space.total), amount(used),
                          amount(space.free), amount(space.quarantined), percent, share, shown(io, pool));
    if (space.bad != 0) io.out << fmt::format("{:>10} on the list of bad blocks\n", amount(space.bad));
    if (!units_) return;
    for (const Line& line : lines_of(mapped.units)) {
      if (line.bytes != 0) io.out << fmt::format("{:>10} {}\n", amount(line.bytes), line.text);
    }
  }

  static Json as_json(const std::string& pool, const SpaceInfo& space, const Mapped& mapped) {
    Json json;
    json["pool"] = pool;
    json["label"] = space.label;
    json["uuid"] = space.uuid;
    json["total"] = space.total;
    json["used"] = space.total - std::min(space.free, space.total);
    json["free"] = space.free;
    json["available"] = space.available;
    json["quarantined"] = space.quarantined;
    json["bad"] = space.bad;
    json["block"] = space.block;
    json["cluster"] = space.cluster;
    json["inodes"] = space.inodes;
    json["free_inodes"] = space.free_inodes;
    json["files"] = mapped.files;
    json["file_bytes"] = mapped.bytes();
    json["share_in_2m_units"] = mapped.share();
    for (const Line& line : lines_of(mapped.units)) json["units"][line.json] = line.bytes;
    return json;
  }

  bool bytes_ = false;
  bool units_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_df() { return std::make_unique<Df>(); }

}  // namespace holdfast::cli
