// Row 10: truncate of 1 GiB, without pins and with 262,144 of them.
#include <fcntl.h>
#include <unistd.h>

#include "base/result.h"
#include "cli/bench_support.h"

namespace holdfast::cli::bench {
namespace {

constexpr std::uint64_t kFileBytes = GiB;
constexpr std::uint64_t kPage = 4 * KiB;
using Made = Result<std::unique_ptr<Scenario>>;

class Truncates : public Scenario {
 public:
  Truncates(Filesystem fs, bool pinned, TemporaryDirectory directory)
      : fs_(std::move(fs)), pinned_(pinned), directory_(std::move(directory)) {}

  Result<Sample> ours() override {
    HF_ASSIGN(File file, fs_.open("/truncated", Open::read_write | Open::create));
    HF_TRY(file.allocate(0, kFileBytes));
    std::vector<Pin> pins;
    if (pinned_) HF_TRY(pin_every_page(file, pins));
    const std::int64_t start = now_nanoseconds();
    HF_TRY(file.truncate(0, {.on_pinned = OnPinned::detach}));
    const auto taken = static_cast<double>(now_nanoseconds() - start);
    pins.clear();
    HF_TRY(fs_.unlink("/truncated"));
    HF_TRY(fs_.sync());
    return Sample{taken, 0};
  }

  Result<Sample> comparator() override {
    HF_ASSIGN(const FileDescriptor file, open_file(directory_.path() + "/truncated", O_RDWR | O_CREAT));
    if (fallocate(file.get(), 0, 0, static_cast<off_t>(kFileBytes)) != 0) return system_error("comparator");
    const std::int64_t start = now_nanoseconds();
    if (ftruncate(file.get(), 0) != 0) return system_error("comparator");
    return Sample{static_cast<double>(now_nanoseconds() - start), 0};
  }

 private:
  static Status pin_every_page(File& file, std::vector<Pin>& pins) {
    // The whole first, so that what is pinned are units and not pages.
    const Result<Pin> tracked = file.pin(0, kFileBytes, {.access = Access::write, .purpose = "bench"});
    if (!tracked) return tracked.error();
    pins.reserve(kFileBytes / kPage);
    for (std::uint64_t at = 0; at < kFileBytes; at += kPage) {
      HF_ASSIGN(Pin pin, file.pin(at, kPage, {.access = Access::write, .purpose = "bench"}));
      pins.push_back(std::move(pin));
    }
    return {};
  }

  Filesystem fs_;
  bool pinned_;
  TemporaryDirectory directory_;
};

Made truncates(bool pinned) {
  HF_ASSIGN(Filesystem fs, memory_pool(kFileBytes * 3));
  HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kTmpfs));
  return std::unique_ptr<Scenario>(new Truncates(std::move(fs), pinned, std::move(directory)));
}

}  // namespace

void add_truncate_cases(std::vector<Case>& cases) {
  Case plain;
  plain.row = 10;
  plain.name = "truncate 1 GiB, no pins";
  plain.against = "ftruncate on tmpfs";
  plain.ratio_max = 0.3;
  plain.prepare = [] { return truncates(false); };
  plain.rounds = 5;
  cases.push_back(plain);
  Case pinned;
  pinned.row = 10;
  pinned.name = "truncate 1 GiB, 262,144 pins, detach";
  pinned.nanoseconds_max = 1e6;
  pinned.prepare = [] { return truncates(true); };
  pinned.rounds = 5;
  cases.push_back(pinned);
}

}  // namespace holdfast::cli::bench
