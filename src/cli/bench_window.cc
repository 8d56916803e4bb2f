// Rows 8, 9 and 11: windows, and how fast a break ends.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>

#include "base/result.h"
#include "cli/bench_support.h"

namespace holdfast::cli::bench {
namespace {

constexpr std::uint64_t kPage = 4 * KiB;
constexpr std::uint64_t kUnit = 2 * MiB;
constexpr std::uint64_t kFileBytes = GiB;
using Made = Result<std::unique_ptr<Scenario>>;

void touch(std::byte* at) { *const_cast<volatile std::byte*>(at) = std::byte{1}; }

// A file of written pages on each side.
struct Files {
  Filesystem fs;
  File file;
  TemporaryDirectory directory;
  FileDescriptor tmpfs;
};

Result<Files> files(std::uint64_t length) {
  HF_ASSIGN(Filesystem fs, memory_pool(length * 2));
  HF_ASSIGN(File file, fs.open("/mapped", Open::read_write | Open::create));
  HF_TRY(file.allocate(0, length));
  HF_TRY(file.zero_range(0, length));
  // Written, as the comparator's pages are: what is measured are faults and not first stores.
  HF_TRY(file.pin(0, length, {.access = Access::write, .purpose = "bench"}));
  HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kTmpfs));
  HF_ASSIGN(FileDescriptor tmpfs, open_file(directory.path() + "/mapped", O_RDWR | O_CREAT));
  if (fallocate(tmpfs.get(), 0, 0, static_cast<off_t>(length)) != 0) return system_error("comparator");
  return Files{std::move(fs), std::move(file), std::move(directory), std::move(tmpfs)};
}

class Mapping {
 public:
  static Result<Mapping> of(int fd, std::uint64_t length) {
    void* const at = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return system_error("comparator");
    return Mapping(static_cast<std::byte*>(at), length);
  }
  Mapping(Mapping&& other) noexcept : at_(std::exchange(other.at_, nullptr)), length_(other.length_) {}
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (at_ != nullptr) munmap(at_, length_);
  }
  std::byte* data() const { return at_; }

 private:
  Mapping(std::byte* at, std::uint64_t length) : at_(at), length_(length) {}
  std::byte* at_;
  std::uint64_t length_;
};

// Row 8.
class MapAndTouch : public Scenario {
 public:
  MapAndTouch(Files made, bool all) : files_(std::move(made)), all_(all) {}
  Result<Sample> ours() override {
    const std::int64_t start = now_nanoseconds();
    HF_ASSIGN(const Window window, files_.file.map(0, kFileBytes));
    touch_some(window.data());
    return Sample{static_cast<double>(now_nanoseconds() - start), 0};
  }
  Result<Sample> comparator() override {
    const std::int64_t start = now_nanoseconds();
    HF_ASSIGN(const Mapping mapping, Mapping::of(files_.tmpfs.get(), kFileBytes));
    touch_some(mapping.data());
    return Sample{static_cast<double>(now_nanoseconds() - start), 0};
  }

 private:
  void touch_some(std::byte* data) const {
    const std::uint64_t end = all_ ? kFileBytes : kPage;
    for (std::uint64_t at = 0; at < end; at += kPage) touch(data + at);
  }
  Files files_;
  bool all_;
};

// Row 9. A punch of one page takes the translations of the unit that it lies in; what is timed comes after it.
class Refault : public Scenario {
 public:
  Refault(Files made, std::uint64_t pages, ServeFaults serve) : files_(std::move(made)), pages_(pages), serve_(serve) {}
  Result<Sample> ours() override {
    // A new file each time: a unit of which a page was punched is none any more.
    HF_ASSIGN(File file, files_.fs.open("/zapped", Open::read_write | Open::create));
    HF_TRY(files_.fs.unlink("/zapped"));
    HF_TRY(file.allocate(0, kUnits * kUnit));
    HF_TRY(file.pin(0, kUnits * kUnit, {.access = Access::write, .purpose = "bench"}));
    HF_ASSIGN(const Window window, file.map(0, kUnits * kUnit, {.faults = serve_}));
    return each(window.data(), [&file](std::uint64_t unit) { return file.punch(unit, kPage); });
  }
  Result<Sample> comparator() override {
    HF_ASSIGN(const Mapping mapping, Mapping::of(files_.tmpfs.get(), kUnits * kUnit));
    return each(mapping.data(), [&mapping](std::uint64_t unit) -> Status {
      if (madvise(mapping.data() + unit, kUnit, MADV_DONTNEED) == 0) return {};
      return system_error("comparator");
    });
  }

 private:
  static constexpr std::uint64_t kUnits = 32;
  template <typename Zap>
  Result<Sample> each(std::byte* data, Zap zap) {
    std::vector<double> taken;
    for (std::uint64_t unit = 0; unit < kUnits * kUnit; unit += kUnit) {
      touch(data + unit + kUnit / 2);
      HF_TRY(zap(unit));
      const std::int64_t start = now_nanoseconds();
      for (std::uint64_t page = 0; page < pages_; ++page) touch(data + unit + kUnit / 2 + page * kPage);
      taken.push_back(static_cast<double>(now_nanoseconds() - start) / static_cast<double>(pages_));
    }
    return sample_of(taken);
  }
  Files files_;
  std::uint64_t pages_;
  ServeFaults serve_;
};

// Row 11: from the last unpin to the waiter's return, which has committed; the comparator wakes a thread and no more.
class UnpinToWaiter : public Scenario {
 public:
  explicit UnpinToWaiter(Files made) : files_(std::move(made)) {}
  Result<Sample> ours() override {
    std::vector<double> taken;
    for (int i = 0; i < kWakes; ++i) {
      HF_ASSIGN(Pin pin, files_.file.pin(0, kPage, {.access = Access::write, .purpose = "bench"}));
      Status punched;
      std::int64_t woken = 0;
      std::thread waiter([&] {
        punched = files_.file.punch(0, kPage);
        woken = now_nanoseconds();
      });
      std::this_thread::sleep_for(
          std::chrono::milliseconds(2));  // the waiter sleeps by then; if not, the median drops it
      const std::int64_t start = now_nanoseconds();
      pin.release();
      waiter.join();
      HF_TRY(std::move(punched));
      taken.push_back(static_cast<double>(woken - start));
    }
    return sample_of(taken);
  }
  Result<Sample> comparator() override {
    std::vector<double> taken;
    for (int i = 0; i < kWakes; ++i) {
      std::atomic<int> go{0};
      std::int64_t woken = 0;
      std::thread waiter([&] {
        go.wait(0);
        woken = now_nanoseconds();
      });
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      const std::int64_t start = now_nanoseconds();
      go.store(1);
      go.notify_one();
      waiter.join();
      taken.push_back(static_cast<double>(woken - start));
    }
    return sample_of(taken);
  }

 private:
  static constexpr int kWakes = 15;
  Files files_;
};

class SmallTruncate : public Scenario {
 public:
  explicit SmallTruncate(Files made) : files_(std::move(made)) {}
  Result<Sample> ours() override {
    constexpr std::uint64_t kPages = 200;
    HF_TRY(files_.file.truncate(kPages * kPage));
    HF_TRY(files_.file.allocate(0, kPages * kPage));
    return time_each(kPages, [this](std::uint64_t i) { return files_.file.truncate((kPages - 1 - i) * kPage); });
  }
  Result<Sample> comparator() override { return Sample{}; }

 private:
  Files files_;
};

template <typename Kind, typename... Arguments>
std::function<Made()> made(std::uint64_t length, Arguments... arguments) {
  return [=]() -> Made {
    HF_ASSIGN(Files both, files(length));
    return std::unique_ptr<Scenario>(new Kind(std::move(both), arguments...));
  };
}

}  // namespace

void add_window_cases(std::vector<Case>& cases) {
  const auto add = [&cases](int row, const char* name, const char* against, std::optional<double> ratio,
                            std::optional<double> nanoseconds, std::function<Made()> prepare) {
    Case one;
    one.row = row;
    one.name = name;
    one.against = against;
    one.ratio_max = ratio;
    one.nanoseconds_max = nanoseconds;
    one.prepare = std::move(prepare);
    one.rounds = 5;
    cases.push_back(std::move(one));
  };
  constexpr auto kThread = ServeFaults::thread;
  constexpr auto kInThread = ServeFaults::in_thread;
  add(8, "map 1 GiB, touch every page", "mmap on tmpfs", 0.6, std::nullopt, made<MapAndTouch>(kFileBytes, true));
  add(8, "map 1 GiB, touch one page", "mmap on tmpfs", std::nullopt, 10e3, made<MapAndTouch>(kFileBytes, false));
  add(9, "touch after a zap, one page", "tmpfs minor fault", 5.0, std::nullopt,
      made<Refault>(kFileBytes, 1UL, kThread));
  add(9, "touch after a zap, a page of 16", "tmpfs minor fault", 0.5, std::nullopt,
      made<Refault>(kFileBytes, 16UL, kThread));
  add(9, "the same in thread, one page", "tmpfs minor fault", 3.0, std::nullopt,
      made<Refault>(kFileBytes, 1UL, kInThread));
  add(9, "the same in thread, a page of 16", "tmpfs minor fault", 0.5, std::nullopt,
      made<Refault>(kFileBytes, 16UL, kInThread));
  add(11, "last unpin to the waiter's return", "futex wake", 1.5, std::nullopt, made<UnpinToWaiter>(64 * MiB));
  add(11, "truncate by 4 KiB", "", std::nullopt, 30e3, made<SmallTruncate>(64 * MiB));
}

}  // namespace holdfast::cli::bench
