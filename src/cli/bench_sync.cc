// Row 7: making changes durable on a disk, beside the file system that the disk has: an append of 4 KiB with its sync,
// and a thousand new names with one sync, on pools of 1 and of 256 GiB.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <array>
#include <cerrno>

#include "base/result.h"
#include "cli/bench_support.h"

namespace holdfast::cli::bench {
namespace {

using Made = Result<std::unique_ptr<Scenario>>;

constexpr const char* kDisk = "/var/tmp";
constexpr std::uint64_t kPage = 4 * KiB;

// A pool and a directory of the comparator, on the same disk.
struct OnDisk {
  TemporaryDirectory directory;
  Filesystem fs;

  static Result<OnDisk> make(std::uint64_t size) {
    struct statfs kind {};
    if (statfs(kDisk, &kind) != 0) return system_error(kDisk);
    if (kind.f_type == TMPFS_MAGIC) return Error(ENOTSUP, kDisk, "is in memory, not on a disk");
    HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kDisk));
    HF_ASSIGN(Device device, Device::create(directory.path() + "/pool", size));
    HF_TRY(format(device, {}));
    HF_ASSIGN(Filesystem fs, Filesystem::mount(std::move(device)));
    HF_TRY(run_program({"mkdir", directory.path() + "/names"}));
    return OnDisk{std::move(directory), std::move(fs)};
  }
};

class SyncedAppends : public Scenario {
 public:
  explicit SyncedAppends(OnDisk disk) : disk_(std::move(disk)) {}

  Result<Sample> ours() override {
    HF_ASSIGN(File file, disk_.fs.open("/append", Open::read_write | Open::create | Open::truncate));
    return time_each(kAppends, [&](std::uint64_t) -> Status {
      HF_ASSIGN(const std::uint64_t at, file.append(buffer_));
      keep(at);
      return file.sync();
    });
  }
  Result<Sample> comparator() override {
    const std::string path = disk_.directory.path() + "/names/append";
    HF_ASSIGN(const FileDescriptor file, open_file(path, O_RDWR | O_CREAT | O_APPEND | O_TRUNC));
    return time_each(kAppends, [&](std::uint64_t) -> Status {
      if (write(file.get(), buffer_.data(), kPage) != static_cast<ssize_t>(kPage)) return system_error(path);
      return fdatasync(file.get()) == 0 ? Status() : Status(system_error(path));
    });
  }

 private:
  static constexpr std::uint64_t kAppends = 200;
  OnDisk disk_;
  alignas(64) std::array<std::byte, kPage> buffer_{};
};

// The time of all of it: a thousand names and the sync.
class SyncedNames : public Scenario {
 public:
  explicit SyncedNames(OnDisk disk) : disk_(std::move(disk)) {}

  Result<Sample> ours() override {
    Result<Sample> sample = time_batch(1, [&](std::uint64_t) -> Status {
      for (unsigned i = 0; i < kNames; ++i) {
        HF_TRY(disk_.fs.open(fmt::format("/n{}", i), Open::read_write | Open::create));
      }
      return disk_.fs.sync();
    });
    for (unsigned i = 0; i < kNames; ++i) HF_TRY(disk_.fs.unlink(fmt::format("/n{}", i)));
    HF_TRY(disk_.fs.sync());
    return sample;
  }
  Result<Sample> comparator() override {
    const std::string names = disk_.directory.path() + "/names";
    HF_ASSIGN(const FileDescriptor directory, open_file(names, O_RDONLY | O_DIRECTORY));
    Result<Sample> sample = time_batch(1, [&](std::uint64_t) -> Status {
      for (unsigned i = 0; i < kNames; ++i) {
        HF_TRY(open_file(fmt::format("{}/n{}", names, i), O_RDWR | O_CREAT));
      }
      return syncfs(directory.get()) == 0 ? Status() : Status(system_error(names));
    });
    for (unsigned i = 0; i < kNames; ++i) unlink(fmt::format("{}/n{}", names, i).c_str());
    if (syncfs(directory.get()) != 0) return system_error(names);
    return sample;
  }

 private:
  static constexpr unsigned kNames = 1000;
  OnDisk disk_;
};

template <typename Syncs>
void add(std::vector<Case>& cases, const char* what, const char* against, std::uint64_t size, unsigned rounds) {
  Case made;
  made.row = 7;
  made.name = fmt::format("{}, pool of {} GiB on a disk", what, size / GiB);
  made.against = against;
  made.ratio_max = 1.0;
  made.prepare = [size]() -> Made {
    HF_ASSIGN(OnDisk disk, OnDisk::make(size));
    return std::unique_ptr<Scenario>(new Syncs(std::move(disk)));
  };
  made.rounds = rounds;
  cases.push_back(std::move(made));
}

}  // namespace

void add_sync_cases(std::vector<Case>& cases) {
  for (const std::uint64_t size : {GiB, 256 * GiB}) {
    add<SyncedAppends>(cases, "append 4 KiB and sync", "fdatasync on the disk's file system", size, 5);
    add<SyncedNames>(cases, "1,000 names and sync", "syncfs on the disk's file system", size, 5);
  }
}

}  // namespace holdfast::cli::bench
