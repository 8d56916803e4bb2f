// Goal: a transfer that a process left behind when it was killed writes to nobody's bytes but the ones it was given,
// however the blocks lost their owner: in the quarantine of the dead, in a file that no commit knew of, in a file that
// the next process removes. Method: the dead process registers its pin with an io_uring of this process, which keeps
// the pages as an unfinished request does; after the mount every free block is taken by new files, and then the
// transfer is made.
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/fault_point.h"
#include "support/child.h"
#include "support/pool_fixture.h"
#include "support/skip.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

constexpr std::uint64_t kHeld = 64 * KiB;

// The far end of transfers that somebody else begins.
class Ring {
 public:
  Ring() : failure_(io_uring_queue_init(4, &ring_, 0)) {}
  ~Ring() {
    if (failure_ == 0) io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  int failure() const { return failure_; }
  // In whichever process has the memory: its pages are held until the ring ends. A negative errno value on failure.
  int hold(std::byte* address, std::uint64_t length) {
    const iovec buffer{address, length};
    return io_uring_register_buffers(&ring_, &buffer, 1);
  }
  // Writes `value` to every byte of the pages; the address is the holder's.
  bool write_to(std::byte* address, std::uint64_t length, unsigned char value) {
    int ends[2];
    if (pipe(ends) != 0) return false;
    const std::vector<std::byte> source = bytes(length, value);
    bool done = write(ends[1], source.data(), length) == static_cast<ssize_t>(length);
    io_uring_prep_read_fixed(io_uring_get_sqe(&ring_), ends[0], address, static_cast<unsigned>(length), 0, 0);
    io_uring_cqe* completion = nullptr;
    done = done && io_uring_submit_and_wait(&ring_, 1) == 1 && io_uring_peek_cqe(&ring_, &completion) == 0 &&
           completion->res == static_cast<int>(length);
    close(ends[0]);
    close(ends[1]);
    return done;
  }

 private:
  io_uring ring_{};
  const int failure_;
};

enum class Lost : std::uint8_t { into_quarantine, before_a_commit, not_yet };

class Predecessor : public test::PoolTest {
 protected:
  static constexpr std::uint64_t kBytes = 16 * MiB;

  void SetUp() override {
    if (ring_.failure() != 0) HF_SKIP_CAPABILITY("io_uring", std::strerror(-ring_.failure()));
    shared_ =
        static_cast<Told*>(mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    make_pool({.journal = NewJournal::sized, .journal_bytes = 4 * MiB}, kBytes);
    make_file("/held", kHeld, 'h');
    close();
  }
  void TearDown() override {
    fault_point::disarm_all();
    PoolTest::TearDown();
  }

  // A process has the pool, a pin, and a transfer into it; and is killed.
  void live_and_die(Lost lost) {
    test::Child child([&](test::Child& me) -> std::string {
      mount().value();
      File file =
          lost == Lost::before_a_commit ? make_file("/new", kHeld, 'n') : fs().open("/held", Open::read_write).value();
      const Pin pin = file.pin(0, kHeld, {.access = Access::write}).value();
      if (pin.segments().size() != 1) return "the file lies in pieces";
      shared_->address = pin.segments()[0].address;
      if (lost == Lost::into_quarantine) {
        file.truncate(0, {.on_pinned = OnPinned::detach}).value();
        fs().sync().value();
      }
      if (const int failed = ring_.hold(shared_->address, kHeld); failed != 0) return std::strerror(-failed);
      me.ready_and_wait();
      return "was not killed";
    });
    ASSERT_TRUE(child.wait_until_ready()) << child.wait().message;
    pid_ = child.pid();
    kill(pid_, SIGKILL);
    EXPECT_EQ(child.wait().signal, SIGKILL);
  }
  pid_t pid() const { return pid_; }

  // Everything that is free gets 'v'.
  Error fill() {
    for (unsigned number = 0;; ++number) {
      File file = make_file("/victim" + std::to_string(number));
      for (std::uint64_t at = 0; at < MiB;) {
        const Result<std::size_t> done = file.write(at, bytes(kHeld, 'v'));
        if (!done) return done.error();
        at += *done;
      }
    }
  }
  void transfer() { ASSERT_TRUE(ring_.write_to(shared_->address, kHeld, 'D')); }
  bool victims_are_whole() {
    for (unsigned number = 0; exists("/victim" + std::to_string(number)); ++number) {
      const File file = fs().open("/victim" + std::to_string(number), Open::read).value();
      std::vector<std::byte> got(file.size());
      if (file.read(0, got).value() != got.size() || got != bytes(got.size(), 'v')) return false;
    }
    return true;
  }
  void remove_held() {
    fs().unlink("/held").value();
    static_cast<void>(fs().space());  // frees what nobody holds any more
    fs().sync().value();
  }
  void empty() {
    for (unsigned number = 0; exists("/victim" + std::to_string(number)); ++number) {
      fs().unlink("/victim" + std::to_string(number)).value();
    }
    static_cast<void>(fs().space());
    fs().sync().value();
  }

 private:
  struct Told {
    std::byte* address;
  };
  Ring ring_;
  Told* shared_ = nullptr;
  pid_t pid_ = -1;
};

TEST_F(Predecessor, ItsQuarantineIsFreeAndOutOfReach) {
  live_and_die(Lost::into_quarantine);
  mount().value();
  EXPECT_EQ(fs().recovery().predecessor, static_cast<std::uint32_t>(pid()));
  EXPECT_EQ(fill().code(), ENOSPC);
  transfer();
  EXPECT_TRUE(victims_are_whole());
  EXPECT_EQ(fs().space().withheld, kHeld) << "the orphan's blocks wait for the next mount";
  remount(true);
  EXPECT_EQ(fs().space().withheld, 0U);
  EXPECT_EQ(fill().code(), ENOSPC);
  transfer();
  EXPECT_TRUE(victims_are_whole()) << "the next mount replaced the memory";
}

TEST_F(Predecessor, E2fsckInBetweenProvesNothing) {
  make_pool({.journal = NewJournal::none}, kBytes);
  make_file("/held", kHeld, 'h');
  close();
  live_and_die(Lost::into_quarantine);
  EXPECT_EQ(code_of(mount()), EUCLEAN);
  EXPECT_LE(test::run_program("e2fsck -p '" + path() + "'").status, 1);
  mount().value();
  EXPECT_EQ(fs().recovery().predecessor, static_cast<std::uint32_t>(pid()));
  EXPECT_EQ(fill().code(), ENOSPC);
  transfer();
  EXPECT_TRUE(victims_are_whole());
}

TEST_F(Predecessor, BlocksThatNoCommitKnewOf) {
  live_and_die(Lost::before_a_commit);
  mount().value();
  EXPECT_FALSE(exists("/new"));
  EXPECT_EQ(fill().code(), ENOSPC);
  transfer();
  EXPECT_TRUE(victims_are_whole());
}

TEST_F(Predecessor, AFileThatIsRemovedLater) {
  live_and_die(Lost::not_yet);
  mount().value();
  remove_held();
  EXPECT_EQ(fs().space().withheld, kHeld);
  const Error full = fill();
  EXPECT_EQ(full.code(), ENOSPC);
  EXPECT_NE(full.message().find("a process that died"), std::string::npos) << full.message();
  transfer();
  EXPECT_TRUE(victims_are_whole());
  // What came after the mount is not withheld.
  empty();
  EXPECT_EQ(fs().space().withheld, kHeld);
  EXPECT_EQ(fill().code(), ENOSPC);
}

TEST_F(Predecessor, TheWordOfTheCaller) {
  live_and_die(Lost::not_yet);
  mount().value();
  const std::uint64_t free = fs().space().free;
  remove_held();
  EXPECT_EQ(fs().space().free, free);
  fs().trust_memory().value();
  EXPECT_EQ(fs().space().withheld, 0U);
  EXPECT_EQ(fs().space().free, free + kHeld);
  remount(true);
  EXPECT_EQ(fs().recovery().predecessor, 0U) << "a clean end after it leaves nothing to tell";
}

TEST_F(Predecessor, AnotherBootIsProof) {
  live_and_die(Lost::not_yet);
  fault_point::arm("ext4.another_boot", 1);
  mount().value();
  EXPECT_EQ(fs().recovery().predecessor, 0U);
  remove_held();
  EXPECT_EQ(fs().space().withheld, 0U);
}

TEST_F(Predecessor, WhereNoMemoryCanBeReplacedOrphansStay) {
  live_and_die(Lost::into_quarantine);
  fault_point::arm("device.replaces_memory", 1, 1000000);
  mount().value();
  EXPECT_TRUE(fs().recovery().keeps_orphans);
  EXPECT_EQ(fill().code(), ENOSPC);
  transfer();
  EXPECT_TRUE(victims_are_whole());
  const std::uint64_t free = fs().space().free;
  fs().unmount().value();
  mount().value();
  EXPECT_TRUE(fs().recovery().keeps_orphans) << "a clean end of the next process is no proof";
  EXPECT_EQ(fs().space().free, free);
  close();
  fault_point::arm("ext4.another_boot", 1);
  mount().value();
  EXPECT_FALSE(fs().recovery().keeps_orphans);
  EXPECT_EQ(fs().space().free, free + kHeld);
}

}  // namespace
}  // namespace holdfast
