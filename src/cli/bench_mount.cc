// Row 14: mounting pools of 1, 16 and 256 GiB, sparse, and of 1 GiB full, and one whose journal is full of what a crash
// left, beside the kernel's ext4 by loop.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <linux/loop.h>

#include <algorithm>
#include <cerrno>

#include "base/result.h"
#include "cli/bench_support.h"

namespace holdfast::cli::bench {
namespace {

using Made = Result<std::unique_ptr<Scenario>>;

// A loop device over a file. Attached once, so that a round times mount(2) and nothing of its preparation.
class LoopDevice {
 public:
  static Result<LoopDevice> attach(const std::string& path) {
    if (geteuid() != 0) return Error(EPERM, "loop device", "needs root");
    HF_ASSIGN(const FileDescriptor control, open_file("/dev/loop-control", O_RDWR));
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return system_error("/dev/loop-control");
    std::string name = fmt::format("/dev/loop{}", number);
    HF_ASSIGN(FileDescriptor device, open_file(name, O_RDWR));
    HF_ASSIGN(const FileDescriptor file, open_file(path, O_RDWR));
    if (ioctl(device.get(), LOOP_SET_FD, file.get()) != 0) return system_error(name);
    return LoopDevice(std::move(name), std::move(device));
  }
  LoopDevice(LoopDevice&&) noexcept = default;
  LoopDevice& operator=(LoopDevice&&) = delete;
  ~LoopDevice() {
    if (device_.get() >= 0) ioctl(device_.get(), LOOP_CLR_FD);
  }
  const std::string& name() const { return name_; }

 private:
  LoopDevice(std::string name, FileDescriptor device) : name_(std::move(name)), device_(std::move(device)) {}
  std::string name_;
  FileDescriptor device_;
};

class Mounts : public Scenario {
 public:
  Mounts(TemporaryDirectory directory, std::string pool, std::optional<LoopDevice> loop)
      : directory_(std::move(directory)), pool_(std::move(pool)), loop_(std::move(loop)) {}

  // Opening the carrier belongs to it: that is where memory would be touched page by page.
  Result<Sample> ours() override {
    const std::uint64_t resident_before = resident_bytes();
    const std::int64_t start = now_nanoseconds();
    HF_ASSIGN(Device device, Device::open(pool_));
    HF_ASSIGN(Filesystem fs, Filesystem::mount(std::move(device)));
    const auto taken = static_cast<double>(now_nanoseconds() - start);
    const std::uint64_t resident_after = resident_bytes();
    HF_TRY(fs.unmount());
    const std::uint64_t resident = resident_after - std::min(resident_before, resident_after);
    return Sample{taken, 0, static_cast<double>(resident)};
  }
  Result<Sample> comparator() override {
    const std::string at = directory_.path() + "/mounted";
    const std::int64_t start = now_nanoseconds();
    if (mount(loop_->name().c_str(), at.c_str(), "ext4", 0, nullptr) != 0) return system_error("kernel ext4");
    const auto taken = static_cast<double>(now_nanoseconds() - start);
    if (umount(at.c_str()) != 0) return system_error(at);
    return Sample{taken, 0};
  }

 private:
  TemporaryDirectory directory_;
  std::string pool_;
  std::optional<LoopDevice> loop_;
};

// A new copy of one image each time: its journal is replayed once.
class Replays : public Scenario {
 public:
  // `trusted`: as after a power failure, when no transfer of the dead process can be under way.
  Replays(TemporaryDirectory directory, std::string crashed, bool trusted)
      : directory_(std::move(directory)), crashed_(std::move(crashed)), trusted_(trusted) {}

  Result<Sample> ours() override {
    HF_ASSIGN(const std::string pool, copy());
    const std::int64_t start = now_nanoseconds();
    HF_ASSIGN(Device device, Device::open(pool));
    HF_ASSIGN(Filesystem fs, Filesystem::mount(std::move(device), {.trust_memory = trusted_}));
    const auto taken = static_cast<double>(now_nanoseconds() - start);
    if (fs.recovery().blocks == 0) return Error(EINVAL, crashed_, "has nothing to replay");
    HF_TRY(fs.unmount());
    return Sample{taken, 0};
  }
  Result<Sample> comparator() override {
    HF_ASSIGN(const std::string image, copy());
    HF_ASSIGN(const LoopDevice loop, LoopDevice::attach(image));
    const std::string at = directory_.path() + "/mounted";
    const std::int64_t start = now_nanoseconds();
    if (mount(loop.name().c_str(), at.c_str(), "ext4", 0, nullptr) != 0) return system_error("kernel ext4");
    const auto taken = static_cast<double>(now_nanoseconds() - start);
    if (umount(at.c_str()) != 0) return system_error(at);
    return Sample{taken, 0};
  }

 private:
  Result<std::string> copy() {
    std::string path = directory_.path() + "/copy";
    HF_TRY(run_program({"cp", "--sparse=always", crashed_, path}));
    return path;
  }

  TemporaryDirectory directory_;
  std::string crashed_;
  bool trusted_;
};

// Nine tenths of the journal: the next commits would make room.
Made replays(bool trusted) {
  constexpr std::uint64_t kJournalBytes = 64 * MiB;
  HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kTmpfs));
  const std::string pool = directory.path() + "/pool";
  const std::string crashed = directory.path() + "/crashed";
  HF_TRY(run_program({"mkdir", directory.path() + "/mounted"}));
  HF_ASSIGN(Device device, Device::create(pool, GiB));
  HF_TRY(format(device, {.journal = NewJournal::sized, .journal_bytes = kJournalBytes}));
  HF_ASSIGN(Filesystem fs, Filesystem::mount(std::move(device)));
  for (unsigned i = 0; i < 1600; ++i) {
    HF_TRY(fs.make_directory(fmt::format("/d{}", i)));
    HF_TRY(fs.sync());
  }
  HF_TRY(run_program({"cp", "--sparse=always", pool, crashed}));
  HF_TRY(fs.unmount());
  return std::unique_ptr<Scenario>(new Replays(std::move(directory), crashed, trusted));
}

Status make_pool(const std::string& path, std::uint64_t size, bool full) {
  HF_ASSIGN(Device device, Device::create(path, size));
  HF_TRY(format(device, {}));
  HF_ASSIGN(Filesystem fs, Filesystem::mount(std::move(device)));
  if (full) {
    HF_ASSIGN(File file, fs.open("/full", Open::read_write | Open::create));
    std::uint64_t at = 0;
    for (std::uint64_t piece = size; piece >= MiB;) {
      if (file.allocate(at, piece)) {
        at += piece;
      } else {
        piece /= 2;
      }
    }
  }
  return fs.unmount();
}

Made mounts(std::uint64_t size, bool full) {
  HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kTmpfs));
  const std::string pool = directory.path() + "/pool";
  HF_TRY(make_pool(pool, size, full));
  const std::string image = directory.path() + "/image";
  HF_TRY(run_program({"truncate", "-s", std::to_string(size), image}));
  HF_TRY(run_program({"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", image}));
  HF_TRY(run_program({"mkdir", directory.path() + "/mounted"}));
  HF_ASSIGN(LoopDevice loop, LoopDevice::attach(image));
  return std::unique_ptr<Scenario>(new Mounts(std::move(directory), pool, std::move(loop)));
}

void add(std::vector<Case>& cases, const char* name, std::uint64_t size, bool full) {
  Case made;
  made.row = 14;
  made.name = name;
  made.against = "kernel ext4 mount (loop)";
  made.ratio_max = 1.0;
  made.prepare = [=] { return mounts(size, full); };
  made.rounds = 7;
  cases.push_back(std::move(made));
}

void add_replay(std::vector<Case>& cases, const char* name, bool trusted) {
  Case replay;
  replay.row = 14;
  replay.name = name;
  replay.against = "kernel ext4 mount (loop)";
  replay.ratio_max = 1.0;
  replay.prepare = [trusted] { return replays(trusted); };
  replay.rounds = 7;
  cases.push_back(std::move(replay));
}

}  // namespace

void add_mount_cases(std::vector<Case>& cases) {
  add(cases, "mount 1 GiB, sparse", GiB, false);
  add(cases, "mount 1 GiB, full", GiB, true);
  add(cases, "mount 16 GiB, sparse", 16 * GiB, false);
  add(cases, "mount 256 GiB, sparse", 256 * GiB, false);
  add_replay(cases, "mount 1 GiB after a power failure, a full journal of 64 MiB", true);
  add_replay(cases, "mount 1 GiB after the process died, a full journal of 64 MiB", false);
}

}  // namespace holdfast::cli::bench
