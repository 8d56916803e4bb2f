// holdfast cat: contents of files to standard output.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/interrupt.h"
#include "cli/path.h"
#include "cli/pool.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kPieceBytes = MiB;

class Cat final : public Command {
 public:
  Description describe() const override {
    return {.name = "cat",
            .operands = "POOL PATH...",
            .summary = "print the contents of files",
            .details = "Writes the contents of the files to standard output, one after the other.",
            .operands_min = 2,
            .section = Section::files};
  }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 1, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    return read_pool(operands[0], io, [&](Filesystem& fs) {
      return each_path(paths, io, [&](const std::string& path) { return print(fs, path, io); });
    });
  }

 private:
  static Status print(Filesystem& fs, const std::string& path, Io& io) {
    HF_ASSIGN(const File file, fs.open(path, Open::read));
    std::vector<std::byte> piece(kPieceBytes);
    for (std::uint64_t offset = 0;;) {
      HF_TRY(check_interrupt());
      HF_ASSIGN(const std::size_t got, file.read(offset, piece));
      if (got == 0) return {};
      offset += got;
      io.out.write(reinterpret_cast<const char*>(piece.data()), static_cast<std::streamsize>(got));
      if (!io.out) return Error(EIO, "standard output", "cannot be written");
    }
  }
};

}  // namespace

std::unique_ptr<Command> make_cat() { return std::make_unique<Cat>(); }

}  // namespace holdfast::cli
