// holdfast extents: where the bytes of files lie.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/show.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

class Extents final : public Command {
 public:
  Description describe() const override {
    return {.name = "extents",
            .operands = "POOL PATH...",
            .summary = "show where the bytes of files lie",
            .details =
                "Shows each extent of the files: offset in the file, offset on the device, length (all in bytes), "
                "whether it is written, and the largest unit in which this carrier may map some of it.",
            .operands_min = 2,
            .section = Section::looking};
  }

  void declare(CLI::App& options) override {
    options.add_flag("--json", json_, "as JSON: a list of objects, one for each PATH");
  }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 1, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    Json list = Json::array();
    return read_pool(operands[0], io, [&](Filesystem& fs) {
      const int code = each_path(paths, io, [&](const std::string& path) -> Status {
        HF_ASSIGN(const File file, fs.open(path, Open::read));
        HF_ASSIGN(const std::vector<ExtentInfo> extents, file.extents());
        if (json_) {
          list.push_back(as_json(path, file.size(), extents));
        } else {
          if (paths.size() > 1) io.out << shown(io, path) << ":\n";
          print(extents, io);
        }
        return {};
      });
      if (json_) print_json(io, list);
      return code;
    });
  }

 private:
  static const char* flags(const ExtentInfo& extent) { return extent.unwritten ? "unwritten" : "written"; }

  static void print(const std::vector<ExtentInfo>& extents, Io& io) {
    io.out << fmt::format("{:>16} {:>16} {:>16} {:>10} {:>5}\n", "Offset", "Device offset", "Length", "Flags", "Unit");
    for (const ExtentInfo& extent : extents) {
      io.out << fmt::format("{:>16} {:>16} {:>16} {:>10} {:>5}\n", extent.offset, extent.device_offset, extent.length,
                            flags(extent), unit(extent));
    }
  }

  static std::string unit(const ExtentInfo& extent) {
    return extent.unit_max >= GiB ? "1G" : extent.unit_max >= 2 * MiB ? "2M" : "4K";
  }

  static Json as_json(const std::string& path, std::uint64_t size, const std::vector<ExtentInfo>& extents) {
    Json json;
    json["path"] = path;
    json["size"] = size;
    json["extents"] = Json::array();
    for (const ExtentInfo& extent : extents) {
      json["extents"].push_back({{"offset", extent.offset},
                                 {"device_offset", extent.device_offset},
                                 {"length", extent.length},
                                 {"unwritten", extent.unwritten},
                                 {"unit_max", extent.unit_max}});
    }
    return json;
  }

  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_extents() { return std::make_unique<Extents>(); }

}  // namespace holdfast::cli
