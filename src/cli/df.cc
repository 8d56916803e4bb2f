// holdfast df: space, and how much of it can be mapped in large units.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/result.h"
#include "base/units.h"
#include "cli/command_list.h"
#include "cli/pool.h"
#include "cli/show.h"
#include "cli/size.h"
#include "cli/walk.h"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t kUnit = 2 * MiB;

struct Mapped {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;           // of extents
  std::uint64_t in_large_units = 0;  // of these, in whole units of 2 MiB that can be mapped as one

  double share() const { return bytes == 0 ? 0.0 : static_cast<double>(in_large_units) / static_cast<double>(bytes); }
};

// The whole units that lie in an extent whose offset in the file and on the device agree modulo the unit.
std::uint64_t bytes_in_large_units(const ExtentInfo& extent) {
  if (extent.unit_max < kUnit) return 0;
  const std::uint64_t first = round_up(extent.offset, kUnit);
  const std::uint64_t end = round_down(extent.offset + extent.length, kUnit);
  return end > first ? end - first : 0;
}

class Df final : public Command {
 public:
  Description describe() const override {
    return {.name = "df",
            .operands = "POOL...",
            .summary = "show space, and the share that maps in units of 2 MiB",
            .details =
                "Shows the space of each pool: total, used, free, and what is in quarantine; and which share of the "
                "bytes in files' extents can be mapped in whole units of 2 MiB.",
            .operands_min = 1,
            .section = Section::looking};
  }

  void declare(CLI::App& options) override {
    options.add_flag("-b,--bytes", bytes_, "bytes, not 1.5G");
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
    HF_ASSIGN(const std::vector<ExtentInfo> extents, file.extents());
    for (const ExtentInfo& extent : extents) {
      mapped.bytes += extent.length;
      mapped.in_large_units += bytes_in_large_units(extent);
    }
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
    const std::string share = mapped.bytes == 0 ? "-" : fmt::format("{:.1f}%", mapped.share() * 100);
    io.out << fmt::format("{:>10} {:>10} {:>10} {:>11} {:>4}% {:>8}  {}\n", amount(space.total), amount(used),
                          amount(space.free), amount(space.quarantined), percent, share, shown(io, pool));
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
    json["block"] = space.block;
    json["cluster"] = space.cluster;
    json["inodes"] = space.inodes;
    json["free_inodes"] = space.free_inodes;
    json["files"] = mapped.files;
    json["file_bytes"] = mapped.bytes;
    json["file_bytes_in_2m_units"] = mapped.in_large_units;
    json["share_in_2m_units"] = mapped.share();
    return json;
  }

  bool bytes_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_df() { return std::make_unique<Df>(); }

}  // namespace holdfast::cli
