// Goal: threads that create, write, cut, punch, allocate, rename, unlink and pin files of a small pool at once never
// see bytes of another file, and no block is lost or owned twice. Method: seeded programs; every word of a file says
// whose it is, each thread models its own files, and at the end the free blocks are counted by the library, dumpe2fs
// and e2fsck.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>

#include "sparse_model.h"
#include "support/invariants.h"
#include "support/pool_fixture.h"
#include "support/task.h"

namespace holdfast {
namespace {

using std::chrono::milliseconds;
using test::code_of;

constexpr unsigned kThreads = 3;
constexpr unsigned kNames = 4;  // of each thread
constexpr std::uint64_t kFileBytes = 12 * MiB;
constexpr std::uint64_t kPage = 4096;

std::string name_of(unsigned thread, unsigned number) {
  return "/t" + std::to_string(thread) + "-" + std::to_string(number);
}

// A word of a file: the inode, the page of the file, and what the writer counts. Never 0.
std::uint64_t word_of(std::uint32_t inode, std::uint64_t page, std::uint32_t version) {
  return std::uint64_t{inode} << 40 | page << 24 | (version & 0xFFFFFF);
}

// A pin, and whose pages it holds: words there are zero or of that page, to the end.
struct Held {
  Pin pin;
  std::uint32_t inode = 0;
  std::uint64_t first_page = 0;

  // Empty, or what is wrong.
  std::string look() const {
    std::uint64_t page = first_page;
    for (const Segment& each : pin.segments()) {
      for (std::uint64_t at = 0; at < each.length; at += 8) {
        // Its owner may be writing it.
        const std::uint64_t word =
            __atomic_load_n(reinterpret_cast<const std::uint64_t*>(each.address + at), __ATOMIC_RELAXED);
        const std::uint64_t expected = word_of(inode, page + at / kPage, 0) >> 24;
        if (word == 0 || word >> 24 == expected) continue;
        return "a pinned page of inode " + std::to_string(inode) + " page " + std::to_string(page + at / kPage) +
               " holds a word of inode " + std::to_string(word >> 40) + " page " + std::to_string(word >> 24 & 0xFFFF);
      }
      page += each.length / kPage;
    }
    return {};
  }
};

// One thread of a program: its files, what they should hold, and its pins.
class Actor {
 public:
  Actor(Filesystem& fs, unsigned thread, unsigned seed) : fs_(fs), thread_(thread), random_(seed) {}

  // Empty, or what went wrong.
  std::string run(std::chrono::steady_clock::time_point until) {
    while (std::chrono::steady_clock::now() < until) {
      for (unsigned i = 0; i < 20; ++i) {
        if (std::string wrong = step(); !wrong.empty()) {
          held_.clear();  // others wait for them
          return name_of(thread_, 0) + ": " + wrong;
        }
      }
    }
    std::string wrong = unpin_all();
    held_.clear();
    return wrong;
  }
  std::uint64_t steps() const { return steps_; }

  // With the handles that this thread has left, or with new ones.
  std::string compare_all() {
    for (unsigned number = 0; number < kNames; ++number) {
      Mine& mine = mine_.at(number);
      if (!mine.exists) {
        if (fs_.stat(name_of(thread_, number))) return name_of(thread_, number) + " should not be there";
        continue;
      }
      if (std::string wrong = open(number); !wrong.empty()) return wrong;
      if (std::string wrong = compare(mine, 0, kFileBytes + MiB); !wrong.empty()) return wrong;
    }
    return {};
  }
  void close_all() {
    for (Mine& each : mine_) each.file.reset();
  }

 private:
  struct Mine {
    bool exists = false;
    std::uint32_t inode = 0;
    std::optional<File> file;
    test::SparseModel model;
  };

  std::uint64_t any(std::uint64_t below) { return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random_); }
  std::uint64_t offset() { return any(kFileBytes / kPage) * kPage + (any(3) == 0 ? any(kPage / 8) * 8 : 0); }
  std::uint64_t length() {
    constexpr std::array<std::uint64_t, 7> kLengths{8, kPage, 3 * kPage, 64 * KiB, 64 * KiB + 8, 256 * KiB, 2 * MiB};
    return kLengths.at(any(kLengths.size()));
  }
  // Never waits long: others may wait for this thread's pins.
  BreakOptions policy() {
    if (any(2) == 0) return {.on_pinned = OnPinned::detach};
    return {.on_pinned = any(4) == 0 ? OnPinned::fail : OnPinned::wait, .deadline = milliseconds(5)};
  }
  static std::string said(const Error& error) { return std::string(error.message()); }

  std::string open(unsigned number) {
    Mine& mine = mine_.at(number);
    if (mine.file) return {};
    Result<File> file =
        fs_.open(name_of(thread_, number), mine.exists ? Open::read_write : Open::read_write | Open::create);
    if (!file) return file.error().code() == ENOSPC ? std::string() : said(file.error());
    mine.file.emplace(std::move(file).value());
    const Stat stat = mine.file->stat().value();
    if (mine.exists && stat.inode != mine.inode) return "another file has its name";
    if (!mine.exists && stat.size != 0) return "a new file is not empty";
    mine.exists = true;
    mine.inode = stat.inode;
    return {};
  }

  std::string compare(Mine& mine, std::uint64_t at, std::uint64_t bytes) {
    std::vector<std::byte> got(bytes, std::byte{0xEE});
    const Result<std::size_t> done = mine.file->read(at, got);
    if (!done) return said(done.error());
    got.resize(*done);
    const std::vector<std::byte> wanted = mine.model.read(at, bytes);
    if (got.size() != wanted.size())
      return "size " + std::to_string(got.size()) + " for " + std::to_string(wanted.size());
    const auto wrong = std::mismatch(got.begin(), got.end(), wanted.begin());
    if (wrong.first == got.end()) return {};
    return "wrong byte at " + std::to_string(at + static_cast<std::uint64_t>(wrong.first - got.begin())) +
           " of inode " + std::to_string(mine.inode);
  }

  std::string write(Mine& mine) {
    const std::uint64_t at = offset();
    std::vector<std::byte> from(std::min(length(), kFileBytes - at));
    for (std::size_t i = 0; i < from.size(); i += 8) {
      const std::uint64_t word = word_of(mine.inode, (at + i) / kPage, ++version_);
      std::memcpy(from.data() + i, &word, 8);
    }
    const Result<std::size_t> done = mine.file->write(at, from);
    if (!done) return done.error().code() == ENOSPC ? std::string() : said(done.error());
    mine.model.write(at, std::span(from).first(*done));
    return {};
  }

  std::string cut(Mine& mine) {
    const std::uint64_t size = any(4) == 0 ? mine.model.size() : offset();
    const BreakOptions options = policy();
    const Status done = mine.file->truncate(size, options);
    if (!done) return may_fail(done, options);
    mine.model.truncate(size);
    return {};
  }

  std::string punch(Mine& mine, bool keeps_blocks) {
    const std::uint64_t at = offset();
    const std::uint64_t bytes = std::min(length(), kFileBytes - at);
    const BreakOptions options = policy();
    const Status done = keeps_blocks ? mine.file->zero_range(at, bytes, options) : mine.file->punch(at, bytes, options);
    if (!done) return keeps_blocks && done.error().code() == ENOSPC ? std::string() : may_fail(done, options);
    mine.model.zero(at, at + bytes);
    if (keeps_blocks) mine.model.grow_to(at + bytes);
    return {};
  }

  std::string allocate(Mine& mine) {
    const std::uint64_t at = offset();
    const std::uint64_t bytes = std::min(length(), kFileBytes - at);
    const bool keep = any(2) == 0;
    const Status done = mine.file->allocate(at, bytes, keep ? Allocate::keep_size : Allocate::extend);
    if (!done) return done.error().code() == ENOSPC ? std::string() : said(done.error());
    if (!keep) mine.model.grow_to(at + bytes);
    return {};
  }

  static std::string may_fail(const Status& status, const BreakOptions& options) {
    const int code = status.error().code();
    const bool told = options.on_pinned == OnPinned::wait   ? code == ETIMEDOUT || code == EDEADLK
                      : options.on_pinned == OnPinned::fail ? code == EBUSY || code == ETIMEDOUT  // a copy lasts
                                                            : code == ENOSPC;
    return told ? std::string() : said(status.error());
  }

  // Of any thread's file.
  std::string pin() {
    const unsigned thread = static_cast<unsigned>(any(kThreads));
    const Result<File> file = fs_.open(name_of(thread, static_cast<unsigned>(any(kNames))), Open::read_write);
    if (!file) return file.error().code() == ENOENT ? std::string() : said(file.error());
    const std::uint32_t inode = file->stat().value().inode;
    const std::uint64_t size = file->size();
    if (size < kPage) return {};
    const std::uint64_t first = any(size / kPage);
    // Many at a time are pinned as units of 2 MiB.
    const std::uint64_t pages = std::min(1 + any(any(4) == 0 ? 600 : 40), size / kPage - first);
    File& writable = const_cast<File&>(*file);  // NOLINT: a handle of this thread's own
    Result<Pin> taken = writable.pin(
        first * kPage, pages * kPage,
        {.access = any(2) == 0 ? Access::write : Access::read, .purpose = "random", .deadline = milliseconds(5)});
    if (!taken) {
      const int code = taken.error().code();
      const bool expected = code == ENXIO || code == ENOSPC || code == ETIMEDOUT || code == EDEADLK || code == EAGAIN;
      return expected ? std::string() : said(taken.error());
    }
    held_.push_back({std::move(taken).value(), inode, first});
    return held_.back().look();
  }

  std::string unpin(std::size_t which) {
    std::string wrong = held_[which].look();
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
    return wrong;
  }
  std::string unpin_all() {
    std::string wrong;
    while (!held_.empty() && wrong.empty()) wrong = unpin(held_.size() - 1);
    return wrong;
  }

  std::string rename(unsigned from) {
    const unsigned to = static_cast<unsigned>(any(kNames));
    const Status done = fs_.rename(name_of(thread_, from), name_of(thread_, to));
    if (!done) return done.error().code() == ENOSPC ? std::string() : said(done.error());
    if (from == to) return {};
    mine_.at(to) = std::move(mine_.at(from));
    mine_.at(from) = Mine();
    return {};
  }

  std::string unlink(unsigned number) {
    if (const Status done = fs_.unlink(name_of(thread_, number)); !done) return said(done.error());
    mine_.at(number) = Mine();
    return {};
  }

  std::string step() {
    ++steps_;
    const auto number = static_cast<unsigned>(any(kNames));
    Mine& mine = mine_.at(number);
    if (std::string wrong = open(number); !wrong.empty() || !mine.file) return wrong;
    switch (any(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return write(mine);
      case 4:
      case 5:
      case 6:
        return cut(mine);
      case 7:
      case 8:
        return punch(mine, any(4) == 0);
      case 9:
      case 10:
        return allocate(mine);
      case 11:
        return rename(number);
      case 12:
        return unlink(number);
      case 13:
        mine.file.reset();
        return {};
      case 14:
        return compare(mine, offset(), 256 * KiB);
      case 15:
        return held_.empty() ? std::string() : unpin(any(held_.size()));
      default:
        return held_.size() < 6 ? pin() : unpin(any(held_.size()));
    }
  }

  Filesystem& fs_;
  const unsigned thread_;
  std::mt19937_64 random_;
  std::array<Mine, kNames> mine_;
  std::vector<Held> held_;
  std::uint32_t version_ = 0;
  std::uint64_t steps_ = 0;
};

class RandomProgram : public test::PoolTest {
 protected:
  void drain() {
    const int drained = eventfd(0, EFD_CLOEXEC);
    ASSERT_GE(drained, 0);
    ASSERT_TRUE(fs().drain(drained));
    pollfd told{drained, POLLIN, 0};
    constexpr int kPatience = 60'000;
    EXPECT_EQ(poll(&told, 1, kPatience), 1) << in_the_way();
    EXPECT_EQ(::close(drained), 0);
  }
  std::string in_the_way() {
    std::string text = "the quarantine does not become empty";
    for (const QuarantineInfo& each : fs().quarantine()) {
      text += "\ninode " + std::to_string(each.inode) + (each.evicted ? " (evicted): " : " (holding): ") +
              std::to_string(each.bytes) + " bytes";
    }
    for (const PinInfo& each : fs().pins()) {
      text += "\npinned: inode " + std::to_string(each.inode) + " bytes " + std::to_string(each.offset) + " and " +
              std::to_string(each.length) + " more by thread " + std::to_string(each.tid);
    }
    return text;
  }

  // Bytes of the files, with the blocks of their extents.
  std::uint64_t allocated() {
    std::uint64_t sum = 0;
    EXPECT_TRUE(fs().list("/", [&](const DirectoryEntry& entry) {
      if (entry.kind == FileKind::regular) sum += fs().stat("/" + entry.name).value().allocated;
      return true;
    }));
    return sum;
  }

  // What e2fsck counts as free, in bytes; it finds nothing wrong.
  std::uint64_t free_by_e2fsck() {
    const test::ProgramEnd end = test::run_program("e2fsck -fn '" + path() + "'");
    EXPECT_EQ(end.status, 0) << end.output;
    unsigned long long used = 0;
    unsigned long long total = 0;
    const std::size_t comma = end.output.rfind("), ");
    EXPECT_NE(comma, std::string::npos);
    EXPECT_EQ(std::sscanf(end.output.c_str() + comma, "), %llu/%llu blocks", &used, &total), 2) << end.output;
    return (total - used) * kPage;
  }

  void run(std::uint64_t cluster, unsigned seed) {
    make_pool({.cluster = cluster}, 64 * MiB);
    const std::uint64_t empty = fs().space().free;
    std::vector<std::unique_ptr<Actor>> actors;
    for (unsigned i = 0; i < kThreads; ++i) actors.push_back(std::make_unique<Actor>(fs(), i, seed + i));
    {
      const auto until = std::chrono::steady_clock::now() + milliseconds(2000);
      std::vector<std::unique_ptr<test::Task<std::string>>> tasks;
      tasks.reserve(kThreads);
      for (const auto& actor : actors) {
        tasks.push_back(std::make_unique<test::Task<std::string>>([&actor, until] { return actor->run(until); }));
      }
      for (const auto& task : tasks) EXPECT_EQ(task->get(), "");
    }
    std::uint64_t steps = 0;
    for (const auto& actor : actors) {
      steps += actor->steps();
      EXPECT_EQ(actor->compare_all(), "");
      actor->close_all();
    }
    std::printf("%llu steps\n", static_cast<unsigned long long>(steps));
    EXPECT_EQ(test::broken_invariant(fs().core()), "");
    drain();
    EXPECT_EQ(fs().space().quarantined, 0U);
    EXPECT_TRUE(fs().quarantine().empty());
    EXPECT_TRUE(fs().pins().empty());
    const std::uint64_t left = fs().space().free;
    EXPECT_EQ(left, empty - allocated());

    close();
    EXPECT_EQ(free_by_e2fsck(), left);
    EXPECT_EQ(test::dumpe2fs_number(path(), "Free blocks"), static_cast<std::int64_t>(left / kPage));
    EXPECT_EQ(test::dumpe2fs_number(path(), "First orphan inode"), -1) << "the orphan list is not empty";
    mount().value();
    for (const auto& actor : actors) {
      EXPECT_EQ(actor->compare_all(), "");
      actor->close_all();
    }
    for (unsigned thread = 0; thread < kThreads; ++thread) {
      for (unsigned number = 0; number < kNames; ++number) {
        if (exists(name_of(thread, number))) fs().unlink(name_of(thread, number)).value();
      }
    }
    EXPECT_EQ(fs().space().free, empty);
  }
};

TEST_F(RandomProgram, Pages) { run(4 * KiB, 1); }
TEST_F(RandomProgram, Clusters) { run(64 * KiB, 11); }

}  // namespace
}  // namespace holdfast
