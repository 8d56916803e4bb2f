// Goal: whatever threads do to the files of a pool, nobody ever reads a byte of another file's life, of another page or
// of what was cut away; what is pinned stays; and at the end every block that no file owns is free.
// Method: stamps in every word (support/file_life.h) on pools of each carrier, so small that freed blocks are soon
// another file's. Threads (HOLDFAST_THREADS, 4) write, append, read, map, load, store, pin, truncate, punch, zero,
// allocate, unlink, rename over, detach, sync. For HOLDFAST_SECONDS (60) in all; HOLDFAST_SEED repeats the programs of
// the threads. The first wrong byte ends the run and prints what was done to that page; the end is judged by e2fsck and
// dumpe2fs.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <setjmp.h>  // NOLINT(modernize-deprecated-headers): sigsetjmp is POSIX
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/environment.h"
#include "support/ext4_volume.h"
#include "support/file_life.h"
#include "support/hugetlb.h"
#include "support/pool_fixture.h"
#include "support/skip.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint64_t kPage = 4 * KiB;

// --- touches that may be bus errors: the file may be cut, or the pool full ---

thread_local sigjmp_buf landing;
thread_local volatile std::sig_atomic_t landing_is_set = 0;

void land(int signal) {
  if (landing_is_set != 0) siglongjmp(landing, signal);
  std::signal(signal, SIG_DFL);
}

// Once, before the first device: the library passes on what is not its own.
void install_handler() {
  [[maybe_unused]] static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = land;
    action.sa_flags = SA_NODEFER;
    return sigaction(SIGBUS, &action, nullptr) == 0;
  }();
}

// False: a bus error.
template <typename Touch>
bool touched(Touch touch) {
  if (sigsetjmp(landing, 1) != 0) {
    landing_is_set = 0;
    return false;
  }
  landing_is_set = 1;
  touch();
  landing_is_set = 0;
  return true;
}

Word load_word(const std::byte* at) { return __atomic_load_n(reinterpret_cast<const Word*>(at), __ATOMIC_RELAXED); }
void store_word(std::byte* at, Word word) { __atomic_store_n(reinterpret_cast<Word*>(at), word, __ATOMIC_RELAXED); }

// --- what the threads share ---

struct OpenLife {
  std::shared_ptr<FileLife> life;
  File file;
};

struct Counts {
  std::atomic<std::uint64_t> operations{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> words{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> pins{0};
  std::atomic<std::uint64_t> lives{0};
};

class World {
 public:
  static constexpr unsigned kSlots = 10;

  explicit World(Filesystem& fs) : fs_(fs) {}
  Filesystem& fs() { return fs_; }
  Counts& counts() { return counts_; }
  bool over() const { return over_.load(std::memory_order_relaxed); }
  void end() { over_.store(true); }
  const std::string& report() const { return report_; }

  static std::string name(unsigned slot) { return fmt::format("/f{}", slot); }
  // The file of a slot, made if there is none; nullptr where the pool has no room for it.
  std::shared_ptr<OpenLife> get(unsigned slot) {
    const std::lock_guard lock(mutex_);
    if (!slots_.at(slot)) slots_[slot] = make(name(slot));
    return slots_[slot];
  }
  // A file under a name of its own that is to replace another.
  std::shared_ptr<OpenLife> make_other(unsigned thread) {
    const std::lock_guard lock(mutex_);
    return make(fmt::format("/new{}", thread));
  }
  void unlink(unsigned slot) {
    std::shared_ptr<OpenLife> gone;
    const std::lock_guard lock(mutex_);
    if (!slots_.at(slot)) return;
    expect(fs_.unlink(name(slot)), "unlink");
    slots_[slot]->life->note("unlinked", 0, 0, FileLife::kPages, 0, 0);
    gone = std::move(slots_[slot]);
  }
  void replace(unsigned slot, unsigned thread, std::shared_ptr<OpenLife> by) {
    std::shared_ptr<OpenLife> gone;
    const std::lock_guard lock(mutex_);
    const std::string from = fmt::format("/new{}", thread);
    const Status renamed = fs_.rename(from, name(slot));
    if (!renamed && renamed.error().code() == ENOSPC) return expect(fs_.unlink(from), "unlink");
    expect(renamed, "rename");
    if (slots_.at(slot)) slots_[slot]->life->note("renamed over", thread, 0, FileLife::kPages, 0, 0);
    gone = std::exchange(slots_[slot], std::move(by));
  }
  void drop_all(bool names_too) {
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      if (names_too) unlink(slot);
      const std::lock_guard lock(mutex_);
      slots_.at(slot).reset();
    }
  }

  // Checks the words of one page; the floor was read before they were.
  bool check(const FileLife& life, std::uint32_t page, const std::byte* bytes, std::uint64_t count, std::uint32_t floor,
             const char* where) {
    counts_.words.fetch_add(count, std::memory_order_relaxed);
    for (std::uint64_t i = 0; i < count; ++i) {
      const Word word = load_word(bytes + i * sizeof(Word));
      if (!life.may_be(word, page, floor)) return wrong(life, page, i, word, where);
    }
    return true;
  }
  bool wrong(const FileLife& life, std::uint32_t page, std::uint64_t at, Word word, const char* where) {
    counts_.wrong.fetch_add(1);
    const std::lock_guard lock(mutex_);
    if (!report_.empty()) return false;
    const Stamp stamp = Stamp::of(word);
    report_ = fmt::format("{}: word {} of page {} of file {} is {:#x} (file {}, page {}, generation {})\n{}", where, at,
                          page, life.id(), word, stamp.file, stamp.page, stamp.generation, life.history(page));
    const auto other = lives_.find(stamp.file);
    if (other != lives_.end() && stamp.file != life.id() && stamp.page < FileLife::kPages) {
      report_ += "and of whom it is: " + other->second->history(stamp.page);
    }
    over_.store(true);
    return false;
  }
  void expect(const Status& status, const char* what) {
    if (status) return;
    ADD_FAILURE() << what << ": " << status.error().message();
    over_.store(true);
  }

 private:
  std::shared_ptr<OpenLife> make(const std::string& path) {
    Result<File> file = fs_.open(path, Open::read_write | Open::create | Open::exclusive);
    if (!file) return nullptr;
    const auto id = static_cast<std::uint32_t>(counts_.lives.fetch_add(1) + 1);
    auto life = std::make_shared<FileLife>(id);
    lives_[id] = life;
    if (id > kRemembered) lives_.erase(id - kRemembered);
    return std::make_shared<OpenLife>(OpenLife{std::move(life), std::move(*file)});
  }

  static constexpr std::uint32_t kRemembered = 256;

  Filesystem& fs_;
  Counts counts_;
  std::atomic<bool> over_{false};
  std::mutex mutex_;  // names, and what is behind them; held over no operation that waits
  std::array<std::shared_ptr<OpenLife>, kSlots> slots_;
  std::map<std::uint32_t, std::shared_ptr<FileLife>> lives_;
  std::string report_;
};

// --- one thread ---

class Actor {
 public:
  Actor(World& world, unsigned number, std::uint64_t seed) : world_(world), number_(number), random_(seed) {}

  void run() {
    while (!world_.over()) {
      step();
      look_at_held();
      world_.counts().operations.fetch_add(1, std::memory_order_relaxed);
    }
    while (!held_.empty()) let_go(0);
    windows_.clear();
  }

 private:
  struct Range {
    std::uint32_t first = 0;
    std::uint32_t end = 0;
    std::uint64_t offset() const { return first * kPage; }
    std::uint64_t length() const { return (end - first) * kPage; }
  };
  // A pin with what lies under it.
  struct Held {
    Pin pin;
    std::shared_ptr<FileLife> life;
    Range range;
    bool alone = false;            // nobody else stores to it: each word is `generation`'s
    std::uint32_t generation = 0;  // with alone
    std::vector<bool> had;         // without: pages whose first word was a stamp
    unsigned place = 0;
  };
  struct Shown {
    Window window;
    std::shared_ptr<FileLife> life;
  };

  std::uint64_t below(std::uint64_t count) { return random_() % count; }
  bool one_in(std::uint64_t count) { return below(count) == 0; }
  Range some(std::uint32_t limit, std::uint32_t most) {
    const auto first = static_cast<std::uint32_t>(below(limit));
    return {first, std::min(limit, first + 1 + static_cast<std::uint32_t>(below(most)))};
  }
  // Mostly small files; some reach over a unit.
  std::uint32_t limit() { return one_in(4) ? FileLife::kPages : 128; }
  BreakOptions policy() {
    switch (below(3)) {
      case 0:
        return {.on_pinned = OnPinned::fail};
      case 1:
        return {.on_pinned = OnPinned::detach};
      default:
        return {.on_pinned = OnPinned::wait, .deadline = milliseconds(1 + below(20))};
    }
  }
  int said(int code) {
    if (code != 0) world_.counts().refused.fetch_add(1, std::memory_order_relaxed);
    return code;
  }

  void step() {
    const auto slot = static_cast<unsigned>(below(World::kSlots));
    const std::shared_ptr<OpenLife> open = world_.get(slot);
    if (open == nullptr) return;  // a pool without room for a name
    switch (below(32)) {
      case 0:
        if (one_in(4)) world_.unlink(slot);
        break;
      case 1:
        if (one_in(4)) rename_over(slot);
        break;
      case 2:
        if (one_in(16)) world_.expect(world_.fs().sync(), "sync");
        break;
      case 3:
        if (one_in(4)) allocate(*open);
        break;
      case 4:
      case 5:
        cut_short(*open);
        break;
      case 6:
      case 7:
        cut_out(*open);
        break;
      case 8:
        append(*open);
        break;
      case 9:
      case 10:
        show(*open);
        break;
      default:
        use(*open);
        break;
    }
  }
  void use(OpenLife& open) {
    switch (below(8)) {
      case 0:
      case 1:
        write(open);
        break;
      case 2:
      case 3:
        pin(open);
        break;
      case 4:
      case 5:
        touch();
        break;
      default:
        read(open);
        break;
    }
  }

  // --- bytes ---

  void stamp(FileLife& life, std::uint32_t generation, Range range, bool any_page = false) {
    buffer_.resize((range.end - range.first) * kPageWords);
    for (std::size_t i = 0; i < buffer_.size(); ++i) {
      const auto page = static_cast<std::uint32_t>(range.first + i / kPageWords);
      buffer_[i] = Stamp{life.id(), any_page ? kAnyPage : page, generation}.word();
    }
  }

  void write(OpenLife& open) {
    FileLife& life = *open.life;
    const Range range = some(limit(), one_in(8) ? 128 : 8);
    if (!life.try_share(range.first, range.end)) return;
    const std::uint32_t generation = life.begin_write(number_, 0);
    stamp(life, generation, range);
    const Result<std::size_t> done = open.file.write(range.offset(), std::as_bytes(std::span(buffer_)));
    life.note("write", number_, range.first, range.end, generation, said(code_of(done)));
    life.done(number_, 0);
    life.unshare(range.first, range.end);
  }

  void append(OpenLife& open) {
    FileLife& life = *open.life;
    const auto count = static_cast<std::uint32_t>(1 + below(8));
    // All that it may reach: nobody has to have it alone.
    const auto from = static_cast<std::uint32_t>(open.file.size() / kPage);
    if (from + 64 > FileLife::kPages || !life.try_share(0, FileLife::kPages)) return;
    const std::uint32_t generation = life.begin_write(number_, 0);
    stamp(life, generation, {0, count}, true);
    const Result<std::uint64_t> at = open.file.append(std::as_bytes(std::span(buffer_)));
    const auto first = at ? static_cast<std::uint32_t>(*at / kPage) : from;
    life.note("append", number_, first, first + count, generation, said(code_of(at)));
    life.done(number_, 0);
    life.unshare(0, FileLife::kPages);
  }

  void read(OpenLife& open) {
    const FileLife& life = *open.life;
    const Range range = some(limit(), one_in(8) ? 128 : 8);
    std::vector<std::uint32_t> floors;
    for (std::uint32_t page = range.first; page < range.end; ++page) floors.push_back(life.floor(page));
    buffer_.assign((range.end - range.first) * kPageWords, 0);
    const Result<std::size_t> got = open.file.read(range.offset(), std::as_writable_bytes(std::span(buffer_)));
    if (said(code_of(got)) != 0) return world_.expect(Status(got.error()), "read");
    const auto* const bytes = reinterpret_cast<const std::byte*>(buffer_.data());
    for (std::uint64_t done = 0; done < *got; done += kPage) {
      const auto page = static_cast<std::uint32_t>(done / kPage);
      if (!world_.check(life, range.first + page, bytes + done, kPageWords, floors[page], "read")) return;
    }
  }

  // --- windows ---

  void show(OpenLife& open) {
    if (windows_.size() >= 3) {
      windows_.pop_front();
      return;
    }
    const auto faults = one_in(2) ? ServeFaults::thread : ServeFaults::in_thread;
    const Range range = one_in(3) ? Range{0, FileLife::kPages} : Range{512, 512 + 256};
    Result<Window> window = open.file.map(range.offset(), range.length(), {.faults = faults});
    open.life->note("map", number_, range.first, range.end, 0, said(code_of(window)));
    if (window) windows_.push_back({std::move(*window), open.life});
  }

  void touch() {
    if (windows_.empty()) return;
    const Shown& shown = windows_[below(windows_.size())];
    FileLife& life = *shown.life;
    const auto shift = static_cast<std::uint32_t>(shown.window.offset() / kPage);
    for (int i = 0; i < 8; ++i) {
      const auto page = static_cast<std::uint32_t>(below(std::min<std::uint64_t>(128, shown.window.size() / kPage)));
      std::byte* const at = shown.window.data() + page * kPage + below(kPageWords) * sizeof(Word);
      if (one_in(2)) {
        const std::uint32_t floor = life.floor(shift + page);
        Word word = 0;
        if (!touched([&] { word = load_word(at); })) continue;
        if (!world_.check(life, shift + page, reinterpret_cast<const std::byte*>(&word), 1, floor, "load")) return;
      } else {
        if (!life.try_share(shift + page, shift + page + 1)) continue;
        const std::uint32_t generation = life.begin_write(number_, 0);
        const Word word = Stamp{life.id(), shift + page, generation}.word();
        const bool stored = touched([&] { store_word(at, word); });
        life.note("store", number_, shift + page, shift + page + 1, generation, stored ? 0 : EFAULT);
        life.done(number_, 0);
        life.unshare(shift + page, shift + page + 1);
      }
    }
  }

  // --- pins ---

  void pin(OpenLife& open) {
    if (held_.size() == FileLife::kAnnouncements - 1) return let_go(below(held_.size()));
    std::shared_ptr<FileLife> life = open.life;
    const auto pages = static_cast<std::uint32_t>(open.file.size() / kPage);
    if (pages == 0) return;
    const Range range = some(std::min(pages, FileLife::kPages), one_in(8) ? 600 : 8);
    const bool alone = one_in(2) && life->try_own(range.first, range.end);
    const PinOptions options{.access = alone || one_in(2) ? Access::write : Access::read,
                             .purpose = "a while",
                             .deadline = milliseconds(1 + below(20)),
                             .on_break = one_in(2) ? OnBreak::wait : OnBreak::fail,
                             .released_elsewhere = false};
    Result<Pin> got = take(open, range, options);
    life->note(alone ? "pin alone" : "pin", number_, range.first, range.end, 0, said(code_of(got)));
    if (!got) {
      if (alone) life->disown(range.first, range.end);
      return;
    }
    world_.counts().pins.fetch_add(1, std::memory_order_relaxed);
    Held held{std::move(*got), std::move(life), range, alone, 0, {}, free_place()};
    if (alone) {
      held.generation = held.life->begin_write(number_, held.place);
      each_page(held, [&held](std::uint32_t page, std::byte* at) {
        const Word word = Stamp{held.life->id(), page, held.generation}.word();
        for (std::uint64_t i = 0; i < kPageWords; ++i) store_word(at + i * sizeof(Word), word);
        return true;
      });
      held.life->note("device wrote", number_, range.first, range.end, held.generation, 0);
    } else {
      each_page(held, [&held](std::uint32_t /*page*/, const std::byte* at) {
        held.had.push_back(load_word(at) != 0);
        return true;
      });
    }
    held_.push_back(std::move(held));
  }
  // Through the file, or by address where a window of the thread shows it.
  Result<Pin> take(OpenLife& open, Range range, const PinOptions& options) {
    for (const Shown& shown : windows_) {
      if (shown.life != open.life || range.offset() < shown.window.offset()) continue;
      if (range.offset() + range.length() > shown.window.offset() + shown.window.size()) continue;
      return world_.fs().pin_address(shown.window.data() + (range.offset() - shown.window.offset()), range.length(),
                                     options);
    }
    return open.file.pin(range.offset(), range.length(), options);
  }
  unsigned free_place() const {
    unsigned place = 1;
    while (std::any_of(held_.begin(), held_.end(), [place](const Held& each) { return each.place == place; })) ++place;
    return place;
  }
  template <typename Visit>
  static void each_page(const Held& held, Visit visit) {
    std::uint32_t page = held.range.first;
    for (const Segment& segment : held.pin.segments()) {
      for (std::uint64_t at = 0; at < segment.length; at += kPage, ++page) {
        if (!visit(page, segment.address + at)) return;
      }
    }
  }

  void look_at_held() {
    if (held_.empty()) return;
    const std::size_t which = below(held_.size());
    check(held_[which]);
    if (one_in(6)) let_go(which);
  }
  void check(const Held& held) {
    std::size_t number = 0;
    each_page(held, [&](std::uint32_t page, const std::byte* at) {
      if (!held.alone) {
        // It may be stored to, by who has the file; it is never zeroed, and never another's.
        const bool had = held.had[number++];
        if (had && load_word(at) == 0) return world_.wrong(*held.life, page, 0, 0, "a pinned page was zeroed");
        return world_.check(*held.life, page, at, kPageWords, 0, "pin");
      }
      world_.counts().words.fetch_add(kPageWords, std::memory_order_relaxed);
      const Word wanted = Stamp{held.life->id(), page, held.generation}.word();
      for (std::uint64_t i = 0; i < kPageWords; ++i) {
        const Word word = load_word(at + i * sizeof(Word));
        if (word != wanted) return world_.wrong(*held.life, page, i, word, "a page that a holder has alone changed");
      }
      return true;
    });
  }
  void let_go(std::size_t which) {
    Held& held = held_[which];
    check(held);
    held.pin.release();
    held.life->note("unpin", number_, held.range.first, held.range.end, held.generation, 0);
    if (held.alone) {
      held.life->done(number_, held.place);
      held.life->disown(held.range.first, held.range.end);
    }
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  // --- cuts ---

  void cut_short(OpenLife& open) {
    FileLife& life = *open.life;
    const auto size = static_cast<std::uint32_t>(one_in(4) ? 0 : below(limit()));
    const bool shrinks = size * kPage < open.file.size();
    const std::uint32_t begun = life.begin_cut();
    const int code = said(code_of(open.file.truncate(size * kPage, policy())));
    life.note("truncate to", number_, size, FileLife::kPages, begun, code);
    // Where it grew, nothing was cut: somebody else may have been shorter meanwhile.
    if (code == 0 && shrinks) life.cut(size, FileLife::kPages, begun);
  }
  void cut_out(OpenLife& open) {
    FileLife& life = *open.life;
    const Range range = some(limit(), one_in(8) ? 600 : 16);
    const bool zero = one_in(3) && range.end * kPage <= open.file.size();
    const std::uint32_t begun = life.begin_cut();
    const Status done = zero ? open.file.zero_range(range.offset(), range.length(), policy())
                             : open.file.punch(range.offset(), range.length(), policy());
    const int code = said(code_of(done));
    life.note(zero ? "zero" : "punch", number_, range.first, range.end, begun, code);
    if (code == 0) life.cut(range.first, range.end, begun);
  }
  void allocate(OpenLife& open) {
    const Range range = one_in(2) ? Range{0, FileLife::kPages} : some(FileLife::kPages, 256);
    const Status done = open.file.allocate(range.offset(), range.length(), Allocate::keep_size);
    open.life->note("allocate", number_, range.first, range.end, 0, said(code_of(done)));
  }
  void rename_over(unsigned slot) {
    std::shared_ptr<OpenLife> other = world_.make_other(number_);
    if (other == nullptr) return;
    for (int i = 0; i < 3; ++i) write(*other);
    world_.replace(slot, number_, std::move(other));
  }

  World& world_;
  const unsigned number_;
  std::mt19937_64 random_;
  std::vector<Word> buffer_;
  std::deque<Shown> windows_;
  std::vector<Held> held_;
};

// --- the run ---

class Life : public WindowBed, public ::testing::WithParamInterface<Carriage> {
 protected:
  bool huge() const { return GetParam() == Carriage::hugetlb; }
  // What no file owns and nobody can have: in use with no file there.
  std::uint64_t used() {
    const SpaceInfo space = fs().space();
    EXPECT_EQ(space.quarantined, 0U);
    return space.total - space.free;
  }
  // What stands in the image of a pool that was closed.
  static void expect_image(const std::string& path, std::uint64_t free) {
    EXPECT_EQ(dumpe2fs_number(path, "Free blocks"), static_cast<std::int64_t>(free / kPage));
    EXPECT_EQ(dumpe2fs_number(path, "First orphan inode"), -1) << "the orphan list is not empty";
  }
};

TEST_P(Life, NoByteOfAnotherAndNoBlockLost) {
  std::optional<HugePages> pages;
  if (huge()) {
    pages.emplace(64U);
    if (!pages->missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages->missing());
  }
  const auto threads = static_cast<unsigned>(std::min<std::uint64_t>(from_environment("HOLDFAST_THREADS", 4), 16));
  const std::chrono::duration<double> length(static_cast<double>(from_environment("HOLDFAST_SECONDS", 60)) / 4);
  const std::uint64_t seed = from_environment("HOLDFAST_SEED", 1);
  install_handler();
  open_pool(GetParam(), huge() ? 128 * MiB : 32 * MiB, {}, {.cluster = huge() ? 2 * MiB : 4 * KiB});
  const std::uint64_t used_before = used();
  World world(fs());
  std::vector<std::unique_ptr<Actor>> actors;
  std::vector<std::thread> running;
  for (unsigned i = 0; i < threads; ++i) {
    actors.push_back(std::make_unique<Actor>(world, i, seed * 1000 + i));
    running.emplace_back([actor = actors.back().get()] { actor->run(); });
  }
  const auto start = steady_clock::now();
  auto told = start;
  const auto line = [&](const char* what) {
    const Counts& counts = world.counts();
    const std::chrono::duration<double> took = steady_clock::now() - start;
    fmt::print(
        "{} {} {:.0f} s, seed {}: {} operations ({} refused), {} files, {} pins, {} bytes checked, {} wrong, {} bytes "
        "in "
        "quarantine\n",
        to_string(GetParam()), what, took.count(), seed, counts.operations.load(), counts.refused.load(),
        counts.lives.load(), counts.pins.load(), counts.words.load() * sizeof(Word), counts.wrong.load() * sizeof(Word),
        fs().space().quarantined);
    static_cast<void>(std::fflush(stdout));
  };
  while (!world.over() && steady_clock::now() - start < length) {
    std::this_thread::sleep_for(milliseconds(50));
    if (steady_clock::now() - told < std::chrono::seconds(60)) continue;
    told = steady_clock::now();
    line("after");
  }
  world.end();
  for (std::thread& each : running) each.join();
  line("at the end,");
  ASSERT_EQ(world.report(), "");

  // Every block is a file's, or free.
  world.drop_all(false);
  std::uint64_t owned = 0;
  fs().list("/",
            [&](const DirectoryEntry& entry) {
              if (entry.kind == FileKind::regular) owned += fs().stat("/" + entry.name).value().allocated;
              return true;
            })
      .value();
  EXPECT_EQ(used() - used_before, owned) << "blocks were lost";
  EXPECT_TRUE(fs().quarantine().empty());
  const std::uint64_t free = fs().space().free;
  fmt::print("{}: {} bytes are in files, {} blocks lost\n", to_string(GetParam()), owned,
             (used() - used_before - owned) / kPage);
  close_pool([free](const std::string& path) { expect_image(path, free); });
}

INSTANTIATE_TEST_SUITE_P(Carriers, Life,
                         ::testing::Values(Carriage::memory, Carriage::tmpfs_file, Carriage::disk_file,
                                           Carriage::hugetlb),
                         [](const auto& each) { return to_string(each.param); });

}  // namespace
}  // namespace holdfast::test
