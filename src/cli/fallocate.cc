// holdfast fallocate and punch: blocks for a range, and a range without blocks.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

void require_range(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) throw UsageError{"the length is 0"};
  if (length > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) - offset) {
    throw UsageError{"the range ends beyond what a file can have"};
  }
}

class Fallocate final : public Command {
 public:
  Description describe() const override {
    return {.name = "fallocate",
            .operands = "POOL PATH...",
            .summary = "give files blocks for a range",
            .details =
                "Gives the range blocks, which read as zeros where there were none, as fallocate(1) does. A file "
                "that is not there is made. The size grows over the range unless -n is given.",
            .operands_min = 2,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_option("-l,--length", length_, "bytes of the range")->type_name("SIZE")->required();
    options.add_option("-o,--offset", offset_, "where the range begins; default 0")->type_name("SIZE");
    auto* keep = options.add_flag("-n,--keep-size", keep_size_, "the file's size stays");
    options.add_flag("-z,--zero-range", zero_, "make the whole range zeros")->excludes(keep);
  }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 1, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    const std::uint64_t offset = size_or_usage(offset_, "--offset");
    const std::uint64_t length = size_or_usage(length_, "--length");
    require_range(offset, length);
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      return each_path(paths, io, [&](const std::string& path) -> Status {
        HF_ASSIGN(File file, fs.open(path, Open::write | Open::create));
        if (zero_) return file.zero_range(offset, length);
        return file.allocate(offset, length, keep_size_ ? Allocate::keep_size : Allocate::extend);
      });
    });
  }

 private:
  std::string length_;
  std::string offset_ = "0";
  bool keep_size_ = false;
  bool zero_ = false;
};

class Punch final : public Command {
 public:
  Description describe() const override {
    return {.name = "punch",
            .operands = "POOL OFFSET LENGTH PATH...",
            .summary = "take the blocks of a range out of files",
            .details =
                "Makes the range a hole: its blocks go back to the pool, it reads as zeros, the size stays. Parts "
                "of a cluster at the ends are zeroed and keep their block. OFFSET and LENGTH may also stand "
                "before POOL.",
            .operands_min = 4,
            .section = Section::files};
  }

  int run(const Operands& operands, Io& io) override {
    Operands words = operands;
    if (parse_size(words[0]) && parse_size(words[1])) std::rotate(words.begin(), words.begin() + 2, words.begin() + 3);
    const std::uint64_t offset = size_or_usage(words[1], "OFFSET");
    const std::uint64_t length = size_or_usage(words[2], "LENGTH");
    const Operands paths(words.begin() + 3, words.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    require_range(offset, length);
    return write_pool(words[0], io, [&](Filesystem& fs) {
      return each_path(paths, io, [&](const std::string& path) -> Status {
        HF_ASSIGN(File file, fs.open(path, Open::write));
        return file.punch(offset, length);
      });
    });
  }
};

}  // namespace

std::unique_ptr<Command> make_fallocate() { return std::make_unique<Fallocate>(); }
std::unique_ptr<Command> make_punch() { return std::make_unique<Punch>(); }

}  // namespace holdfast::cli
