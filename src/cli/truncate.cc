// holdfast truncate: sets sizes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t kOffsetMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

// What -s says: a size, or one relative to what the file has.
struct Resize {
  char relation = '=';
  std::uint64_t bytes = 0;

  Result<std::uint64_t> of(std::uint64_t size, const std::string& path) const {
    const Error too_large(EFBIG, path, "the new size is beyond what a file can have");
    switch (relation) {
      case '+':
        return bytes > kOffsetMax - size ? Result<std::uint64_t>(too_large) : size + bytes;
      case '-':
        return size > bytes ? size - bytes : 0;
      case '<':
        return std::min(size, bytes);
      case '>':
        return std::max(size, bytes);
      case '/':
        return size / bytes * bytes;
      case '%': {
        const std::uint64_t missing = (bytes - size % bytes) % bytes;
        return missing > kOffsetMax - size ? Result<std::uint64_t>(too_large) : size + missing;
      }
      default:
        return bytes;
    }
  }
};

Resize parse_resize(const std::string& text) {
  Resize resize;
  std::string number = text;
  if (!text.empty() && std::string("+-<>/%").find(text[0]) != std::string::npos) {
    resize.relation = text[0];
    number.erase(0, 1);
  }
  resize.bytes = size_or_usage(number, "--size");
  if (resize.bytes == 0 && (resize.relation == '/' || resize.relation == '%')) {
    throw UsageError{"--size: no multiple of 0"};
  }
  return resize;
}

class Truncate final : public Command {
 public:
  Description describe() const override {
    return {.name = "truncate",
            .operands = "POOL PATH...",
            .summary = "set the size of files",
            .details =
                "Sets the size of files, as truncate(1) does: what is beyond is gone, what is added is a hole. "
                "A file that is not there is made. SIZE may begin with + or - (by so much), < (at most), "
                "> (at least), / (down to a multiple) or % (up to a multiple).",
            .operands_min = 2,
            .section = Section::files};
  }

  void declare(CLI::App& options) override {
    options.add_option("-s,--size", size_, "the new size")->type_name("SIZE")->required();
    options.add_flag("-c,--no-create", keep_, "do not make files");
  }

  int run(const Operands& operands, Io& io) override {
    const Operands paths(operands.begin() + 1, operands.end());
    std::for_each(paths.begin(), paths.end(), require_absolute);
    const Resize resize = parse_resize(size_);
    return write_pool(operands[0], io, [&](Filesystem& fs) {
      return each_path(paths, io, [&](const std::string& path) { return set_size(fs, path, resize); });
    });
  }

 private:
  Status set_size(Filesystem& fs, const std::string& path, const Resize& resize) const {
    Result<File> file = fs.open(path, keep_ ? Open::write : Open::write | Open::create);
    if (!file && keep_ && file.error().code() == ENOENT) return {};
    if (!file) return std::move(file).error();
    HF_ASSIGN(const std::uint64_t size, resize.of(file->size(), path));
    return file->truncate(size);
  }

  std::string size_;
  bool keep_ = false;
};

}  // namespace

std::unique_ptr<Command> make_truncate() { return std::make_unique<Truncate>(); }

}  // namespace holdfast::cli
