// Rows 4 and 6: reads and appends of 4 KiB beside tmpfs.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <random>

#include "base/result.h"
#include "cli/bench_support.h"

namespace holdfast::cli::bench {
namespace {

constexpr std::uint64_t kPage = 4 * KiB;
using Made = Result<std::unique_ptr<Scenario>>;

Status fill(File& file, int comparator, std::uint64_t size) {
  std::vector<std::byte> piece(2 * MiB);
  for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = static_cast<std::byte>(i * 31);
  for (std::uint64_t at = 0; at < size; at += piece.size()) {
    const std::uint64_t length = std::min<std::uint64_t>(piece.size(), size - at);
    HF_ASSIGN(const std::size_t done, file.write(at, std::span(piece).first(length)));
    if (done != length) return Error(EIO, "bench", "short write");
    if (pwrite(comparator, piece.data(), length, static_cast<off_t>(at)) != static_cast<ssize_t>(length)) {
      return system_error("comparator");
    }
  }
  return {};
}

// Reads of one page at offsets that were drawn before the clock ran.
class Reads : public Scenario {
 public:
  Reads(Filesystem fs, File file, TemporaryDirectory directory, FileDescriptor comparator, std::uint64_t size)
      : fs_(std::move(fs)),
        file_(std::move(file)),
        directory_(std::move(directory)),
        comparator_(std::move(comparator)),
        offsets_(1U << 16U) {
    std::mt19937_64 random(7);  // NOLINT: the same offsets every time
    for (std::uint64_t& offset : offsets_) offset = random() % (size / kPage) * kPage;
  }
  Result<Sample> ours() override {
    return time_batch(offsets_.size(), [this](std::uint64_t i) -> Status {
      HF_ASSIGN(const std::size_t done, file_.read(offsets_[i], buffer_));
      keep(done);
      return {};
    });
  }
  Result<Sample> comparator() override {
    return time_batch(offsets_.size(), [this](std::uint64_t i) -> Status {
      const ssize_t done = pread(comparator_.get(), buffer_.data(), kPage, static_cast<off_t>(offsets_[i]));
      if (done != static_cast<ssize_t>(kPage)) return system_error("comparator");
      return {};
    });
  }

 private:
  Filesystem fs_;
  File file_;
  TemporaryDirectory directory_;
  FileDescriptor comparator_;
  std::vector<std::uint64_t> offsets_;
  alignas(64) std::array<std::byte, kPage> buffer_{};
};

Made reads(std::uint64_t size, PageSize page_size) {
  HF_ASSIGN(Filesystem fs, memory_pool(size * 5 / 4 + 64 * MiB, page_size));
  HF_ASSIGN(File file, fs.open("/read", Open::read_write | Open::create));
  HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kTmpfs));
  HF_ASSIGN(FileDescriptor comparator, open_file(directory.path() + "/read", O_RDWR | O_CREAT));
  HF_TRY(fill(file, comparator.get(), size));
  return std::unique_ptr<Scenario>(
      new Reads(std::move(fs), std::move(file), std::move(directory), std::move(comparator), size));
}

constexpr std::uint64_t kAppendBytes = 128 * MiB;

// Appends one page at a time to a file that is new each round.
class Appends : public Scenario {
 public:
  enum class Memory : std::uint8_t { warm, cold };
  // `pool_directory`: where the pool file is made; empty: a memfd.
  Appends(Memory memory, std::string pool_directory, TemporaryDirectory directory, std::optional<MountPoint> mount)
      : memory_(memory),
        pool_directory_(std::move(pool_directory)),
        directory_(std::move(directory)),
        mount_(std::move(mount)) {}

  Result<Sample> ours() override {
    if (memory_ == Memory::cold || !fs_) {
      fs_.reset();
      HF_ASSIGN(Filesystem fs, fresh_pool());
      fs_.emplace(std::move(fs));
    }
    HF_ASSIGN(File file, fs_->open("/append", Open::read_write | Open::create));
    Result<Sample> sample = time_batch(kAppendBytes / kPage, [&](std::uint64_t) -> Status {
      HF_ASSIGN(const std::uint64_t at, file.append(buffer_));
      keep(at);
      return {};
    });
    HF_TRY(fs_->unlink("/append"));
    HF_TRY(fs_->sync());
    return sample;
  }
  Result<Sample> comparator() override {
    HF_ASSIGN(const FileDescriptor file, open_file(directory_.path() + "/append", O_RDWR | O_CREAT | O_APPEND));
    Result<Sample> sample = time_batch(kAppendBytes / kPage, [&](std::uint64_t) -> Status {
      if (write(file.get(), buffer_.data(), kPage) != static_cast<ssize_t>(kPage)) return system_error("comparator");
      return {};
    });
    unlink((directory_.path() + "/append").c_str());
    return sample;
  }

 private:
  Result<Filesystem> fresh_pool() {
    constexpr std::uint64_t kPoolBytes = kAppendBytes + 64 * MiB;
    if (pool_directory_.empty()) return memory_pool(kPoolBytes);
    const std::string path = pool_directory_ + "/pool";
    unlink(path.c_str());
    HF_ASSIGN(Device device, Device::create(path, kPoolBytes));
    HF_TRY(format(device, {}));
    return Filesystem::mount(std::move(device));
  }

  Memory memory_;
  std::string pool_directory_;
  TemporaryDirectory directory_;
  std::optional<MountPoint> mount_;
  std::optional<Filesystem> fs_;
  alignas(64) std::array<std::byte, kPage> buffer_{};
};

Made appends(Appends::Memory memory) {
  HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kTmpfs));
  return std::unique_ptr<Scenario>(new Appends(memory, "", std::move(directory), std::nullopt));
}

// The pool on a tmpfs that hands out 2 MiB pages.
Made appends_huge() {
  HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kTmpfs));
  const std::string huge = directory.path() + "/huge";
  HF_ASSIGN(MountPoint mount, MountPoint::mount({"-t", "tmpfs", "-o", "huge=always", "holdfast-bench"}, huge));
  return std::unique_ptr<Scenario>(new Appends(Appends::Memory::cold, huge, std::move(directory), std::move(mount)));
}

Case bytes_case(int row, const char* name, double aim, std::function<Made()> prepare, unsigned rounds) {
  Case made;
  made.row = row;
  made.name = name;
  made.against = row == 4 ? "pread on tmpfs" : "tmpfs";
  made.ratio_max = aim;
  made.prepare = std::move(prepare);
  made.rounds = rounds;
  return made;
}

}  // namespace

void add_bytes_cases(std::vector<Case>& cases) {
  cases.push_back(bytes_case(
      4, "read 4 KiB, hot 256 KiB file", 0.4, [] { return reads(256 * KiB, PageSize::base_4k); }, 11));
  cases.push_back(bytes_case(
      4, "read 4 KiB, random in 1 GiB, 4 KiB pages", 0.75, [] { return reads(GiB, PageSize::base_4k); }, 7));
  cases.push_back(bytes_case(
      4, "read 4 KiB, random in 1 GiB, 2 MiB pages", 0.6, [] { return reads(GiB, PageSize::huge_2m); }, 7));
  cases.push_back(bytes_case(
      6, "append 4 KiB, warm", 0.5, [] { return appends(Appends::Memory::warm); }, 7));
  cases.push_back(bytes_case(6, "append 4 KiB, cold 2 MiB pages", 0.8, appends_huge, 5));
  cases.push_back(bytes_case(
      6, "append 4 KiB, cold 4 KiB pages", 1.5, [] { return appends(Appends::Memory::cold); }, 5));
}

}  // namespace holdfast::cli::bench
