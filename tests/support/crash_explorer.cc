#include "support/crash_explorer.h"

#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/crash_actor.h"
#include "support/crash_judge.h"
#include "support/crash_model.h"
#include "support/ext4_volume.h"
#include "support/scratch.h"

namespace holdfast::test {
namespace {

constexpr std::uint64_t kImageBytes = 16 * MiB;
constexpr std::uint64_t kJournalBytes = 4 * MiB;
// What the ballast leaves: so little that freed blocks are soon used again, or more.
constexpr std::uint64_t kFreeBytes[] = {320 * KiB, 768 * KiB, 2 * MiB};
constexpr std::size_t kQueueMax = 16;

// One image that is to be judged.
struct Job {
  std::shared_ptr<const sim::Cut> cut;
  sim::Choice choice;
  std::shared_ptr<const CrashModel> model;
  std::string where;  // program and fence
};

sim::Bytes new_pool(CrashPool pool) {
  const ScratchDirectory scratch(tmpfs_parent().empty() ? disk_parent() : tmpfs_parent());
  const std::string path = scratch.file("pool");
  if (pool == CrashPool::ours || pool == CrashPool::clusters) {
    const std::uint64_t cluster = pool == CrashPool::ours ? 4 * KiB : 16 * KiB;
    Device device = Device::create(path, kImageBytes).value();
    format(device, {.cluster = cluster, .journal = NewJournal::sized, .journal_bytes = kJournalBytes}).value();
  } else {
    std::ofstream(path).close();
    std::filesystem::resize_file(path, kImageBytes);
    const std::string features = "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize";
    const ProgramEnd made =
        run_program(fmt::format("mke2fs -q -F -t ext4 -b 4096 -g {} -J size=4 -O {},{}orphan_file '{}'",
                                kCrashGroupBlocks, features, pool == CrashPool::orphan_file ? "" : "^", path));
    if (made.status != 0) throw std::runtime_error(made.output);
  }
  sim::Bytes bytes(kImageBytes);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw std::runtime_error("a new pool cannot be read");
  return bytes;
}

// What was chosen for a unit, as a reader of a failure needs it.
std::string describe(const Job& job) {
  std::string text;
  std::size_t old = 0;
  std::size_t shown = 0;
  for (std::size_t i = 0; i < job.choice.size(); ++i) {
    const sim::CutUnit& unit = job.cut->units[i];
    if (job.choice[i].version == 0 && job.choice[i].grains == 0) {
      ++old;
      continue;
    }
    if (++shown > 40) continue;
    text +=
        fmt::format("  block {} byte {}: version {} of {}{}{}\n", unit.offset / kModelPage, unit.offset % kModelPage,
                    job.choice[i].version, unit.versions.size() - 1, unit.flushed() ? ", flushed" : "",
                    job.choice[i].grains != 0
                        ? fmt::format(", grains {:#x} of version {}", job.choice[i].grains, job.choice[i].other)
                        : std::string());
  }
  return fmt::format("{}: {} units differ, {} of them are old; new are:\n{}", job.where, job.choice.size(), old, text);
}

// Threads that judge. Who puts a job waits while there are many.
class Court {
 public:
  Court(const CrashOptions& options, CrashOutcome& outcome) : options_(options), outcome_(outcome) {
    for (unsigned i = 0; i < options.judges; ++i) threads_.emplace_back([this] { run(); });
  }
  ~Court() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    for (std::thread& each : threads_) each.join();
  }

  void put(Job job) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return jobs_.size() < kQueueMax || outcome_.failures != 0; });
    if (outcome_.failures == 0) jobs_.push_back(std::move(job));
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return jobs_.empty() && judging_ == 0; });
  }
  bool failed() {
    const std::lock_guard lock(mutex_);
    return outcome_.failures != 0;
  }
  void fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    note(what);
  }

 private:
  void run() {
    CrashJudge judge;
    sim::Bytes image;
    std::uint64_t without_superblock = 0;
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return over_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      ++judging_;
      const bool read = outcome_.images++ % options_.read_repaired_one_in == 0;
      lock.unlock();
      changed_.notify_all();
      job.cut->make_image(job.choice, image);
      const std::string wrong = judge.judge(image, *job.model, read);
      lock.lock();
      outcome_.without_superblock += judge.without_superblock() - without_superblock;
      without_superblock = judge.without_superblock();
      if (!wrong.empty() && outcome_.failures == 0 && !options_.keep.empty()) CrashJudge::keep(image, options_.keep);
      if (!wrong.empty()) note(wrong + "\n" + describe(job));
      --judging_;
      lock.unlock();
      changed_.notify_all();
    }
  }
  void note(const std::string& what) {
    if (++outcome_.failures > 1) return;
    outcome_.report = what;
    outcome_.images_to_failure = outcome_.images;
    jobs_.clear();
  }

  const CrashOptions& options_;
  CrashOutcome& outcome_;  // images, failures and report with mutex_
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  unsigned judging_ = 0;
  bool over_ = false;
  std::vector<std::thread> threads_;
};

// One program with its pool.
class Run {
 public:
  Run(const CrashOptions& options, CrashOutcome& outcome, Court& court, std::uint64_t number)
      : options_(options),
        outcome_(outcome),
        court_(court),
        number_(number),
        random_(options.seed * 1'000'003 + number),
        recorder_(options.medium, new_pool(options.pools.at(number % options.pools.size()))) {}

  std::string go() {
    std::string wrong = work();
    recorder_.watch(nullptr);
    if (wrong.empty() && last_ && !court_.failed()) wrong = recover_watched();
    court_.wait();
    return wrong;
  }
  std::string log() const { return log_.text(); }

 private:
  static std::string said(const char* what, const Error& error) { return fmt::format("{}: {}", what, error.message()); }
  bool over() const { return court_.failed() || std::chrono::steady_clock::now() > options_.until; }

  Result<Filesystem> mount(sim::Recorder& recorder) {
    auto opened = recorder.open();
    if (!opened) return std::move(opened).error();
    return Filesystem::mount(Device(std::move(opened).value()));
  }

  // As a program would on /dev/dax.
  CrashActor::Persist persist() {
    if (options_.medium != sim::Medium::lines) return nullptr;
    return [this](std::uint64_t offset, std::uint64_t length) { recorder_.persist(offset, length); };
  }

  std::string work() {
    Result<Filesystem> fs = mount(recorder_);
    if (!fs) return said("mount", fs.error());
    CrashActor actor(std::move(fs).value(), model_, log_, options_.mixes.at(number_ % options_.mixes.size()), random_(),
                     persist());
    if (std::string wrong = actor.fill_up(kFreeBytes[(options_.seed + number_) % std::size(kFreeBytes)]);
        !wrong.empty())
      return wrong;
    watch(recorder_, "");
    for (unsigned step = 0; step < options_.steps && !over(); ++step) {
      if (std::string wrong = actor.step(); !wrong.empty()) return wrong;
      ++outcome_.operations;
      if (!actor.wants_new_life()) continue;
      if (std::string wrong = actor.close(); !wrong.empty()) return wrong;
      Result<Filesystem> again = mount(recorder_);
      if (!again) return said("mount", again.error());
      actor.reopen(std::move(again).value());
    }
    // And between fences: what nobody has asked for.
    if (!over()) judge(recorder_.cut(), fmt::format("program {}, after the last operation", number_));
    return actor.close();
  }

  void watch(sim::Recorder& recorder, const std::string& what) {
    recorder.watch([this, what](const sim::Cut& cut) {
      judge(cut, fmt::format("program {}{}, fence {}", number_, what, cut.number));
    });
  }

  // In whatever thread makes the fence.
  void judge(const sim::Cut& cut, const std::string& where) {
    const std::lock_guard lock(judging_);
    ++outcome_.fences;
    const std::shared_ptr<const CrashModel> model = model_.copy();
    const auto shared = std::make_shared<const sim::Cut>(cut);
    if (cut.units.size() <= options_.choices.exhaustive_units) ++outcome_.exhaustive;
    std::vector<sim::Choice> choices = sim::choose(cut, options_.choices, random_);
    last_ = Job{shared, choices[random_() % choices.size()], model, where};
    for (sim::Choice& choice : choices) court_.put({shared, std::move(choice), model, where});
  }

  // A second power failure, while a mount recovers from the first.
  std::string recover_watched() {
    log_.add("a power failure at " + last_->where + "; and once more while it is recovered:");
    sim::Bytes image;
    last_->cut->make_image(last_->choice, image);
    sim::Recorder recorder(options_.medium, image);
    const Job first = *last_;
    recorder.watch([this, &first](const sim::Cut& cut) {
      ++outcome_.fences;
      const auto shared = std::make_shared<const sim::Cut>(cut);
      const std::string where = fmt::format("{}; recovering, fence {}", first.where, cut.number);
      for (sim::Choice& choice : sim::choose(cut, options_.choices, random_)) {
        court_.put({shared, std::move(choice), first.model, where});
      }
    });
    Result<Filesystem> fs = mount(recorder);
    if (!fs) return said("mount", fs.error());
    const Status closed = fs->unmount({.deadline = std::chrono::seconds(20)});
    court_.wait();
    return closed ? std::string() : said("unmount", closed.error());
  }

  const CrashOptions& options_;
  CrashOutcome& outcome_;
  Court& court_;
  const std::uint64_t number_;
  std::mutex judging_;  // random_, last_ and the outcome's fences, while the recorder is watched
  std::mt19937_64 random_;
  sim::Recorder recorder_;
  SharedModel model_;
  CrashLog log_;
  std::optional<Job> last_;
};

}  // namespace

CrashOutcome explore_crashes(const CrashOptions& options) {
  CrashOutcome outcome;
  {
    Court court(options, outcome);
    while (outcome.programs < options.programs && !court.failed() && std::chrono::steady_clock::now() < options.until) {
      const std::uint64_t number = options.first + outcome.programs++;
      Run run(options, outcome, court, number);
      if (const std::string wrong = run.go(); !wrong.empty()) court.fail(wrong);
      if (court.failed()) {
        outcome.report += fmt::format("HOLDFAST_SEED={} HOLDFAST_FIRST={} HOLDFAST_PROGRAMS=1 repeats the program:\n{}",
                                      options.seed, number, run.log());
      }
    }
  }
  return outcome;
}

std::string summary(const CrashOutcome& outcome) {
  return fmt::format(
      "{} programs, {} operations, {} fences ({} with every combination), {} crash images ({} without a superblock for "
      "e2fsck), {} failures",
      outcome.programs, outcome.operations, outcome.fences, outcome.exhaustive, outcome.images,
      outcome.without_superblock, outcome.failures);
}

}  // namespace holdfast::test
