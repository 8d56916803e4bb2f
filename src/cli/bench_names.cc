// Row 12: names. The same operations in a directory of 10, 10 thousand and a million names: ours beside tmpfs, beside
// the kernel's ext4 (by loop on tmpfs) and beside fuse2fs.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "base/result.h"
#include "cli/bench_support.h"

namespace holdfast::cli::bench {
namespace {

using Made = Result<std::unique_ptr<Scenario>>;

enum class Operation : std::uint8_t { create, open_close, stat, rename, unlink };
constexpr std::array kOperations = {Operation::create, Operation::open_close, Operation::stat, Operation::rename,
                                    Operation::unlink};
const char* to_string(Operation operation) {
  constexpr std::array kNames = {"create", "open + close", "stat", "rename", "unlink"};
  return kNames.at(static_cast<std::size_t>(operation));
}

enum class Comparator : std::uint8_t { tmpfs, kernel_ext4, fuse2fs };

// The operations on names, in one of the file systems that are compared.
class Names {
 public:
  virtual ~Names() = default;
  virtual Status make_directory() = 0;
  virtual Status create(std::uint64_t i) = 0;
  virtual Status open_close(std::uint64_t i) = 0;
  virtual Status stat(std::uint64_t i) = 0;
  virtual Status rename(std::uint64_t from, std::uint64_t to) = 0;
  virtual Status unlink(std::uint64_t i) = 0;
};

class OurNames : public Names {
 public:
  explicit OurNames(Filesystem fs) : fs_(std::move(fs)) {}
  Status make_directory() override { return fs_.make_directory("/d"); }
  Status create(std::uint64_t i) override {
    const Result<File> file = fs_.open(name(i), Open::write | Open::create | Open::exclusive);
    return file ? Status() : Status(file.error());
  }
  Status open_close(std::uint64_t i) override {
    const Result<File> file = fs_.open(name(i), Open::read);
    return file ? Status() : Status(file.error());
  }
  Status stat(std::uint64_t i) override {
    const Result<Stat> stat = fs_.stat(name(i));
    return stat ? Status() : Status(stat.error());
  }
  Status rename(std::uint64_t from, std::uint64_t to) override { return fs_.rename(name(from), name(to)); }
  Status unlink(std::uint64_t i) override { return fs_.unlink(name(i)); }

 private:
  static std::string name(std::uint64_t i) { return fmt::format("/d/name-{}", i); }
  Filesystem fs_;
};

class KernelNames : public Names {
 public:
  explicit KernelNames(std::string directory) : directory_(std::move(directory)) {}
  Status make_directory() override { return outcome(::mkdir((directory_ + "/d").c_str(), 0755)); }
  Status create(std::uint64_t i) override { return open_once(i, O_WRONLY | O_CREAT | O_EXCL); }
  Status open_close(std::uint64_t i) override { return open_once(i, O_RDONLY); }
  Status stat(std::uint64_t i) override {
    struct ::stat found {};
    return outcome(::stat(name(i).c_str(), &found));
  }
  Status rename(std::uint64_t from, std::uint64_t to) override {
    return outcome(::rename(name(from).c_str(), name(to).c_str()));
  }
  Status unlink(std::uint64_t i) override { return outcome(::unlink(name(i).c_str())); }

 private:
  std::string name(std::uint64_t i) const { return fmt::format("{}/d/name-{}", directory_, i); }
  Status outcome(int result) const { return result == 0 ? Status() : Status(system_error(directory_)); }
  Status open_once(std::uint64_t i, int flags) {
    const Result<FileDescriptor> file = open_file(name(i), flags);
    return file ? Status() : Status(file.error());
  }
  std::string directory_;
};

constexpr std::uint64_t kMeasured = 2000;

// One operation on a directory that holds `population` names before and after each round.
class NameScenario : public Scenario {
 public:
  NameScenario(Operation operation, std::uint64_t population) : operation_(operation), population_(population) {}

  Status populate(std::unique_ptr<Names> ours, std::unique_ptr<Names> comparator) {
    ours_ = std::move(ours);
    comparator_ = std::move(comparator);
    for (Names* names : {ours_.get(), comparator_.get()}) {
      HF_TRY(names->make_directory());
      for (std::uint64_t i = 0; i < population_; ++i) HF_TRY(names->create(i));
    }
    return {};
  }
  Result<Sample> ours() override { return measure(*ours_); }
  Result<Sample> comparator() override { return measure(*comparator_); }

  // What the file systems stand on; released after them, in reverse order.
  std::vector<TemporaryDirectory> directories;
  std::vector<MountPoint> mounts;

 private:
  Result<Sample> measure(Names& names) {
    const std::uint64_t extra = population_;  // names of this round, beyond the population
    const std::uint64_t measured = operation_ == Operation::open_close || operation_ == Operation::stat
                                       ? kMeasured
                                       : std::min<std::uint64_t>(kMeasured, std::max<std::uint64_t>(population_, 10));
    const auto spread = [this](std::uint64_t i) { return i * 7919 % population_; };
    switch (operation_) {
      case Operation::create: {
        Result<Sample> sample = time_each(measured, [&](std::uint64_t i) { return names.create(extra + i); });
        for (std::uint64_t i = 0; i < measured; ++i) HF_TRY(names.unlink(extra + i));
        return sample;
      }
      case Operation::unlink:
        for (std::uint64_t i = 0; i < measured; ++i) HF_TRY(names.create(extra + i));
        return time_each(measured, [&](std::uint64_t i) { return names.unlink(extra + i); });
      case Operation::rename: {
        const std::uint64_t movable = std::min(measured, population_);
        Result<Sample> sample = time_each(movable, [&](std::uint64_t i) { return names.rename(i, extra + i); });
        for (std::uint64_t i = 0; i < movable; ++i) HF_TRY(names.rename(extra + i, i));
        return sample;
      }
      case Operation::stat:
        return time_each(measured, [&](std::uint64_t i) { return names.stat(spread(i)); });
      case Operation::open_close:
        return time_each(measured, [&](std::uint64_t i) { return names.open_close(spread(i)); });
    }
    return Sample{};
  }

  Operation operation_;
  std::uint64_t population_;
  std::unique_ptr<Names> ours_;
  std::unique_ptr<Names> comparator_;
};

Result<std::string> comparator_directory(Comparator comparator, NameScenario& scenario) {
  HF_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::make(kTmpfs));
  const std::string base = directory.path();
  scenario.directories.push_back(std::move(directory));
  if (comparator == Comparator::tmpfs) return base;
  const std::string image = base + "/image";
  HF_TRY(run_program({"truncate", "-s", "2G", image}));
  HF_TRY(run_program({"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-N", "1200000", image}));
  const std::string at = base + "/mounted";
  const std::vector<std::string> arguments =
      comparator == Comparator::kernel_ext4 ? std::vector<std::string>{"-t", "ext4", "-o", "loop", image}
                                            : std::vector<std::string>{"-t", "fuse.fuse2fs", "-o", "fakeroot", image};
  HF_ASSIGN(MountPoint mount, MountPoint::mount(arguments, at));
  scenario.mounts.push_back(std::move(mount));
  return at;
}

Made prepare(Operation operation, std::uint64_t population, Comparator comparator) {
  auto scenario = std::make_unique<NameScenario>(operation, population);
  HF_ASSIGN(const std::string directory, comparator_directory(comparator, *scenario));
  // An inode for each name: 16 KiB of pool a file, as mkfs makes them.
  HF_ASSIGN(Filesystem fs, memory_pool(std::max<std::uint64_t>(256 * MiB, population * 20 * KiB)));
  HF_TRY(scenario->populate(std::make_unique<OurNames>(std::move(fs)), std::make_unique<KernelNames>(directory)));
  return std::unique_ptr<Scenario>(std::move(scenario));
}

void add(std::vector<Case>& cases, Operation operation, std::uint64_t population, Comparator comparator,
         const char* against) {
  Case made;
  made.row = 12;
  made.name = fmt::format("{} among {} names", to_string(operation), population);
  made.against = against;
  if (comparator == Comparator::tmpfs && population <= 10000) made.ratio_max = 1.0;
  made.prepare = [=] { return prepare(operation, population, comparator); };
  made.rounds = 5;
  cases.push_back(std::move(made));
}

}  // namespace

void add_name_cases(std::vector<Case>& cases) {
  for (const std::uint64_t population : {std::uint64_t{10}, std::uint64_t{10000}, std::uint64_t{1000000}}) {
    for (const Operation operation : kOperations) add(cases, operation, population, Comparator::tmpfs, "tmpfs");
  }
  for (const Operation operation : kOperations) {
    add(cases, operation, 10000, Comparator::kernel_ext4, "kernel ext4 (loop on tmpfs)");
  }
  for (const Operation operation : kOperations) add(cases, operation, 10, Comparator::fuse2fs, "fuse2fs");
}

}  // namespace holdfast::cli::bench
