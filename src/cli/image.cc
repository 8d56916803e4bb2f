// holdfast image export and import: a pool as a plain image file, and back. For carriers that system calls cannot write
// (hugetlbfs, /dev/dax), and so ext4 tools cannot either.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/image_copy.h"
#include "cli/pool.h"
#include "cli/progress.h"
#include "cli/show.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

class ImageCommand : public Command {
 public:
  void declare(CLI::App& options) override {
    options.add_flag("-f,--force", force_, replaces());
    options.add_flag("-q,--quiet", quiet_, "no progress and no summary");
    options.add_flag("--json", json_, "the summary as JSON");
  }

  int run(const Operands& operands, Io& io) override {
    Progress progress(io, quiet_);
    const Result<ImageCopied> copied = copy(operands, progress);
    const double seconds = progress.elapsed().count();
    progress.clear();
    if (!copied) return complain(io, copied.error());
    if (json_) {
      print_json(io, {{"size", copied->size}, {"bytes", copied->written}, {"seconds", seconds}});
    } else if (!quiet_) {
      io.out << fmt::format("{}: {}B, of which {}B are not zeros, in {}\n", shown(io, operands[1]),
                            human_size(copied->size), human_size(copied->written),
                            duration_text(std::chrono::duration<double>(seconds)));
    }
    return kDone;
  }

 protected:
  virtual const char* replaces() const = 0;
  virtual Result<ImageCopied> copy(const Operands& operands, Progress& progress) const = 0;
  bool force() const { return force_; }

 private:
  bool force_ = false;
  bool quiet_ = false;
  bool json_ = false;
};

class Export final : public ImageCommand {
 public:
  Description describe() const override {
    return {.name = "image export",
            .operands = "POOL FILE",
            .summary = "write a pool out as a plain image file",
            .details =
                "Writes the bytes of the pool to FILE, zeros as holes: a plain ext4 image for e2fsck, debugfs and "
                "the kernel. The pool is only read. FILE gets its name when it is whole.",
            .operands_min = 2,
            .operands_max = 2,
            .section = Section::pools};
  }

 protected:
  const char* replaces() const override { return "replace FILE if it is there"; }
  Result<ImageCopied> copy(const Operands& operands, Progress& progress) const override {
    return export_image(operands[0], operands[1], force(), progress);
  }
};

class Import final : public ImageCommand {
 public:
  Description describe() const override {
    return {.name = "image import",
            .operands = "FILE POOL",
            .summary = "make a pool of a plain image file",
            .details =
                "Writes FILE, an ext4 image that mounts, to POOL: a device or file that is there and large enough, "
                "or else a new file. POOL is no image until all of it is written.",
            .operands_min = 2,
            .operands_max = 2,
            .section = Section::pools};
  }

 protected:
  const char* replaces() const override { return "also over a POOL that is not empty"; }
  Result<ImageCopied> copy(const Operands& operands, Progress& progress) const override {
    HF_ASSIGN(const ImageCopied copied, import_image(operands[0], operands[1], force(), progress));
    HF_ASSIGN(const Filesystem mounted, mount_to_read(operands[1]));
    return copied;
  }
};

}  // namespace

std::unique_ptr<Command> make_image_export() { return std::make_unique<Export>(); }
std::unique_ptr<Command> make_image_import() { return std::make_unique<Import>(); }

}  // namespace holdfast::cli
