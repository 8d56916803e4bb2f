// Rows 1 and 2: pin and unpin, identity on, beside two bare atomics and io_uring's own registration.
#include <liburing.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "base/result.h"
#include "cli/bench_support.h"

namespace holdfast::cli::bench {
namespace {

constexpr std::uint64_t kPage = 4 * KiB;
constexpr std::uint64_t kUnit = 2 * MiB;

// Registers and unregisters buffers with a ring of its own.
class Registrar {
 public:
  static Result<std::unique_ptr<Registrar>> make() {
    auto registrar = std::make_unique<Registrar>();
    if (const int failed = io_uring_queue_init(4, &registrar->ring_, 0); failed < 0) {
      return Error(-failed, "io_uring", "not available on this machine");
    }
    registrar->open_ = true;
    return registrar;
  }
  Registrar() = default;
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;
  ~Registrar() {
    if (open_) io_uring_queue_exit(&ring_);
  }
  Status once(std::span<const iovec> buffers) {
    if (const int failed = io_uring_register_buffers(&ring_, buffers.data(), static_cast<unsigned>(buffers.size()));
        failed < 0) {
      return Error(-failed, "io_uring", "the buffers were not registered");
    }
    if (const int failed = io_uring_unregister_buffers(&ring_); failed < 0) return Error(-failed, "io_uring", "");
    return {};
  }

 private:
  io_uring ring_{};
  bool open_ = false;
};

// Anonymous shared memory of the comparator, touched.
class SharedMemory {
 public:
  static Result<SharedMemory> make(std::uint64_t length, int extra_flags) {
    void* memory =
        mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | extra_flags, -1, 0);
    if (memory == MAP_FAILED) return Error(errno, "memory of the comparator", "");
    return SharedMemory(static_cast<std::byte*>(memory), length);
  }
  SharedMemory(SharedMemory&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), length_(other.length_) {}
  SharedMemory& operator=(SharedMemory&&) = delete;
  ~SharedMemory() {
    if (memory_ != nullptr) munmap(memory_, length_);
  }
  std::byte* at(std::uint64_t offset) const { return memory_ + offset; }

 private:
  SharedMemory(std::byte* memory, std::uint64_t length) : memory_(memory), length_(length) {}
  std::byte* memory_;
  std::uint64_t length_;
};

class PinScenario : public Scenario {
 public:
  PinScenario(Filesystem fs, File file, std::uint64_t length)
      : fs_(std::move(fs)), file_(std::move(file)), length_(length) {}

  Result<Sample> ours() override {
    const PinOptions options{.access = Access::write, .purpose = "bench"};
    bool failed = false;
    const Sample sample = time_tight(operations_, [&](std::uint64_t) {
      const Result<Pin> pin = file_.pin(0, length_, options);
      failed = failed || !pin;
      keep(pin);
    });
    if (failed) return Error(EIO, "bench", "a pin was refused");
    return sample;
  }

 protected:
  Filesystem fs_;
  File file_;
  std::uint64_t length_;
  std::uint64_t operations_ = 200000;
};

class PinAgainstAtomics : public PinScenario {
 public:
  using PinScenario::PinScenario;
  Result<Sample> comparator() override {
    return time_tight(operations_, [this](std::uint64_t) {
      counter_.fetch_add(1, std::memory_order_seq_cst);
      counter_.fetch_sub(1, std::memory_order_seq_cst);
    });
  }

 private:
  alignas(64) std::atomic<std::uint64_t> counter_{0};
};

class PinAgainstRegistration : public PinScenario {
 public:
  PinAgainstRegistration(Filesystem fs, File file, std::uint64_t length, std::uint64_t operations,
                         std::unique_ptr<Registrar> registrar, SharedMemory memory, std::vector<iovec> buffers)
      : PinScenario(std::move(fs), std::move(file), length),
        registrar_(std::move(registrar)),
        memory_(std::move(memory)),
        buffers_(std::move(buffers)) {
    operations_ = operations;
  }
  Result<Sample> comparator() override {
    return time_batch(operations_ / 100 + 1, [this](std::uint64_t) { return registrar_->once(buffers_); });
  }

 private:
  std::unique_ptr<Registrar> registrar_;
  SharedMemory memory_;
  std::vector<iovec> buffers_;
};

struct Prepared {
  Filesystem fs;
  File file;
};

Result<Prepared> prepare_file(std::uint64_t pool, std::uint64_t length) {
  HF_ASSIGN(Filesystem fs, memory_pool(pool));
  HF_ASSIGN(File file, fs.open("/pinned", Open::read_write | Open::create));
  HF_TRY(file.allocate(0, length));
  const Result<Pin> tracked = file.pin(0, length, {.access = Access::write, .purpose = "bench"});
  if (!tracked) return tracked.error();
  return Prepared{std::move(fs), std::move(file)};
}

// 512 pages that are neighbours in the file and nowhere else: two files that take blocks in turn.
Result<Prepared> prepare_scattered() {
  HF_ASSIGN(Filesystem fs, memory_pool(256 * MiB));
  HF_ASSIGN(File file, fs.open("/scattered", Open::read_write | Open::create));
  HF_ASSIGN(File other, fs.open("/other", Open::read_write | Open::create));
  for (std::uint64_t page = 0; page < kUnit / kPage; ++page) {
    HF_TRY(file.allocate(page * kPage, kPage));
    HF_TRY(other.allocate(page * kPage, kPage));
  }
  const Result<Pin> tracked = file.pin(0, kUnit, {.access = Access::write, .purpose = "bench"});
  if (!tracked) return tracked.error();
  if (tracked->segments().size() < 256) return Error(ENOTSUP, "bench", "the pages did not scatter");
  return Prepared{std::move(fs), std::move(file)};
}

std::vector<iovec> pieces(const SharedMemory& memory, std::uint64_t length, std::uint64_t piece) {
  std::vector<iovec> buffers;
  for (std::uint64_t at = 0; at < length; at += piece) buffers.push_back({memory.at(at), piece});
  return buffers;
}

using Made = Result<std::unique_ptr<Scenario>>;

Made page_against_atomics() {
  HF_ASSIGN(Prepared made, prepare_file(64 * MiB, kPage));
  return std::unique_ptr<Scenario>(new PinAgainstAtomics(std::move(made.fs), std::move(made.file), kPage));
}

Made against_registration(Result<Prepared> prepared, std::uint64_t length, std::uint64_t piece, int memory_flags,
                          std::uint64_t operations) {
  if (!prepared) return std::move(prepared).error();
  HF_ASSIGN(std::unique_ptr<Registrar> registrar, Registrar::make());
  HF_ASSIGN(SharedMemory memory, SharedMemory::make(std::max(length, kUnit), memory_flags));
  std::vector<iovec> buffers = pieces(memory, length, piece);
  return std::unique_ptr<Scenario>(new PinAgainstRegistration(std::move(prepared->fs), std::move(prepared->file),
                                                              length, operations, std::move(registrar),
                                                              std::move(memory), std::move(buffers)));
}

}  // namespace

void add_pin_cases(std::vector<Case>& cases) {
  cases.push_back({.row = 1,
                   .name = "pin + unpin one 4 KiB page",
                   .against = "two bare atomics",
                   .ratio_max = 2.0,
                   .nanoseconds_max = {},
                   .prepare = page_against_atomics,
                   .rounds = 15});
  cases.push_back(
      {.row = 1,
       .name = "pin + unpin one 4 KiB page",
       .against = "io_uring register + unregister",
       .ratio_max = 0.05,
       .nanoseconds_max = {},
       .prepare = [] { return against_registration(prepare_file(64 * MiB, kPage), kPage, kPage, 0, 200000); }});
  cases.push_back(
      {.row = 2,
       .name = "pin + unpin 2 MiB, one unit",
       .against = "io_uring, 4 KiB pages",
       .ratio_max = 0.002,
       .nanoseconds_max = {},
       .prepare = [] { return against_registration(prepare_file(64 * MiB, kUnit), kUnit, kUnit, 0, 20000); }});
  cases.push_back({.row = 2,
                   .name = "pin + unpin 2 MiB, one unit",
                   .against = "io_uring, one 2 MiB page",
                   .ratio_max = 0.04,
                   .nanoseconds_max = {},
                   .prepare = [] {
                     return against_registration(prepare_file(64 * MiB, kUnit), kUnit, kUnit, MAP_HUGETLB, 100000);
                   }});
  cases.push_back({.row = 2,
                   .name = "pin + unpin 512 scattered pages",
                   .against = "io_uring, 512 buffers of 4 KiB",
                   .ratio_max = 0.4,
                   .nanoseconds_max = {},
                   .prepare = [] { return against_registration(prepare_scattered(), kUnit, kPage, 0, 2000); }});
}

}  // namespace holdfast::cli::bench
