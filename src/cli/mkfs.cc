// holdfast mkfs: a new pool.
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <optional>

#include <holdfast/device.h>

#include "base/result.h"
#include "cli/carrier.h"
#include "cli/command_list.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kLabelBytesMax = 16;

class Mkfs final : public Command {
 public:
  Description describe() const override {
    return {.name = "mkfs",
            .operands = "POOL",
            .summary = "make a new pool",
            .details =
                "Makes a new, empty pool: an ext4 image. A regular file that is not there is created with the "
                "size given; a /dev/dax device or an empty file that is there is used as it is.",
            .operands_min = 1,
            .operands_max = 1,
            .section = Section::pools};
  }

  void declare(CLI::App& options) override {
    options.add_option("-s,--size", size_, "size of the pool")->type_name("SIZE");
    options.add_option("-C,--cluster", cluster_, "unit of allocation, 4K (default) to 2M, a power of two")
        ->type_name("SIZE");
    options.add_option("-p,--page-size", page_size_, "refuse a carrier that does not hand out such pages: 4K, 2M, 1G")
        ->type_name("SIZE");
    options.add_option("-J,--journal", journal_, "size of the journal, or none, or auto (default)")->type_name("SIZE");
    options.add_option("-L,--label", label_, "a name for the pool, at most 16 bytes")->type_name("LABEL");
    options.add_flag("-f,--force", force_, "also over what the pool holds already");
    options.add_flag("-q,--quiet", quiet_, "say nothing when all went well");
  }

  int run(const Operands& operands, Io& io) override {
    const std::string& pool = operands[0];
    read_options();
    Result<std::uint64_t> made = make(pool);
    if (!made) return complain(io, made.error());
    if (!quiet_) io.out << fmt::format("{}: a new pool of {}\n", shown(io, pool), human_size(*made));
    return kDone;
  }

 private:
  void read_options() {
    if (!size_.empty()) bytes_ = size_or_usage(size_, "--size");
    format_.cluster = size_or_usage(cluster_, "--cluster");
    const bool power = format_.cluster != 0 && (format_.cluster & (format_.cluster - 1)) == 0;
    if (!power || format_.cluster < 4 * KiB || format_.cluster > 2 * MiB) {
      throw UsageError{fmt::format("--cluster '{}' is not a power of two from 4K to 2M", cluster_)};
    }
    if (!page_size_.empty()) {
      page_bytes_ = size_or_usage(page_size_, "--page-size");
      if (page_bytes_ != 4 * KiB && page_bytes_ != 2 * MiB && page_bytes_ != GiB) {
        throw UsageError{fmt::format("--page-size '{}' is none of 4K, 2M, 1G", page_size_)};
      }
    }
    if (label_.size() > kLabelBytesMax) throw UsageError{fmt::format("--label '{}' is over 16 bytes", label_)};
    if (bytes_ && *bytes_ == 0) throw UsageError{"--size is 0"};
    format_.label = label_;
    if (journal_ == "none") {
      format_.journal = NewJournal::none;
    } else if (journal_ != "auto") {
      format_.journal = NewJournal::sized;
      format_.journal_bytes = size_or_usage(journal_, "--journal");
    }
    format_.force = force_;
  }

  // Returns the pool's size. A file that was made here and got no file system is removed again.
  Result<std::uint64_t> make(const std::string& pool) const {
    HF_ASSIGN(const bool create, must_create(pool));
    if (page_bytes_) HF_TRY(require_page_size(pool, *page_bytes_));
    struct stat before {};
    const bool existed = stat(pool.c_str(), &before) == 0;
    HF_ASSIGN(Device device, create ? Device::create(pool, *bytes_, existed) : Device::open(pool));
    if (Status formatted = format(device, format_); !formatted) {
      if (create && !existed) unlink(pool.c_str());
      return std::move(formatted).error();
    }
    return device.size();
  }

  // Whether the pool is a file to be made (or made anew), not bytes that are there.
  Result<bool> must_create(const std::string& pool) const {
    struct stat there {};
    if (stat(pool.c_str(), &there) != 0) {
      if (errno != ENOENT) return Error(errno, pool, "");
      if (!bytes_) return Error(ENOENT, pool, "not there", "say how large it shall be: --size SIZE");
      return true;
    }
    if (!S_ISREG(there.st_mode)) {
      if (bytes_) return Error(EINVAL, pool, "has a size of its own", "leave --size away");
      return false;
    }
    const auto size = static_cast<std::uint64_t>(there.st_size);
    if (size == 0) {
      if (!bytes_) return Error(EINVAL, pool, "empty", "say how large it shall be: --size SIZE");
      return true;
    }
    if (!bytes_ || *bytes_ == size) return false;
    if (force_) return true;
    return Error(EEXIST, pool, fmt::format("there already, with another size ({} bytes)", size),
                 "leave --size away to use it as it is, or --force to replace it");
  }

  std::string size_;
  std::string cluster_ = "4K";
  std::string page_size_;
  std::string journal_ = "auto";
  std::string label_;
  bool force_ = false;
  bool quiet_ = false;
  std::optional<std::uint64_t> bytes_;
  std::optional<std::uint64_t> page_bytes_;
  FormatOptions format_;
};

}  // namespace

std::unique_ptr<Command> make_mkfs() { return std::make_unique<Mkfs>(); }

}  // namespace holdfast::cli
