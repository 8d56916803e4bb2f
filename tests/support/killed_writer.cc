#include "support/killed_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <initializer_list>
#include <thread>

#include <holdfast/filesystem.h>

#include "support/ext4_volume.h"

namespace holdfast::test {

std::vector<std::byte> bytes_of(int number) {
  std::vector<std::byte> bytes(4096 + static_cast<std::size_t>(number) % 7 * 3000);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i * 31 + static_cast<unsigned>(number));
  }
  return bytes;
}

namespace {

constexpr std::size_t kPinned = 256 * KiB;
constexpr std::size_t kRequest = 32 * KiB;
constexpr unsigned char kDevice = 0xDD;  // what the device writes
constexpr int kAfter = 300;              // new files of a look

Filesystem mount(const std::string& path) { return Filesystem::mount(Device::open(path).value()).value(); }

void write_file(Filesystem& fs, const std::string& path, int number, bool sync) {
  File file = fs.open(path, Open::read_write | Open::create | Open::truncate).value();
  file.write(0, bytes_of(number)).value();
  if (sync) file.sync().value();
}

bool holds(Filesystem& fs, const std::string& path, int number) {
  const Result<File> file = fs.open(path, Open::read);
  if (!file) return false;
  const std::vector<std::byte> wanted = bytes_of(number);
  std::vector<std::byte> found(wanted.size() + 1);
  found.resize(file->read(0, found).value());
  return found == wanted;
}

// Reads of the source into what is pinned, several in flight, for ever.
[[noreturn]] void transfer(std::initializer_list<const Pin*> pins, const std::string& source) {
  int fd = open(source.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) fd = open(source.c_str(), O_RDONLY | O_CLOEXEC);
  io_uring ring{};
  if (fd < 0 || io_uring_queue_init(32, &ring, 0) != 0) _exit(2);
  std::vector<std::byte*> targets;
  for (const Pin* const pin : pins) {
    for (const Segment& each : pin->segments()) {
      for (std::uint64_t at = 0; at + kRequest <= each.length; at += kRequest) targets.push_back(each.address + at);
    }
  }
  for (;;) {
    unsigned sent = 0;
    for (; sent < targets.size(); ++sent) {
      io_uring_prep_read(io_uring_get_sqe(&ring), fd, targets[sent], kRequest, sent % 8 * kRequest);
    }
    if (io_uring_submit(&ring) < 0) _exit(2);
    for (; sent > 0; --sent) {
      io_uring_cqe* done = nullptr;
      if (io_uring_wait_cqe(&ring, &done) != 0) _exit(2);
      io_uring_cqe_seen(&ring, done);
    }
  }
}

[[noreturn]] void work_until_killed(const std::string& pool, const std::string& source, int first, int to_parent) {
  Filesystem fs = mount(pool);
  File pinned = fs.open("/pinned", Open::read_write | Open::create).value();
  pinned.allocate(0, kPinned).value();
  const Pin pin = pinned.pin(0, kPinned, {.access = Access::write, .purpose = "a device's reads"}).value();
  File cut = fs.open("/cut", Open::read_write | Open::create).value();
  cut.allocate(0, kPinned).value();
  const Pin detached = cut.pin(0, kPinned, {.access = Access::write, .purpose = "a device's reads"}).value();
  std::thread([&pin, &detached, &source] { transfer({&pin, &detached}, source); }).detach();
  cut.truncate(0, {.on_pinned = OnPinned::detach}).value();
  for (int i = first;; ++i) {
    write_file(fs, "/f" + std::to_string(i % 400), i, true);
    if (write(to_parent, &i, sizeof(i)) != sizeof(i)) _exit(1);
    write_file(fs, "/unsynced" + std::to_string(i % 9), i, false);
    if (i % 3 == 0) static_cast<void>(fs.unlink("/unsynced" + std::to_string((i + 4) % 9)));
  }
}

}  // namespace

KilledWriter::KilledWriter(std::string directory, std::uint64_t seed)
    : pool_(directory + "/pool"), source_(directory + "/source"), random_(seed) {
  std::ofstream(source_) << std::string(8 * kRequest, static_cast<char>(kDevice));
  Device device = Device::create(pool_, 64 * MiB).value();
  format(device, {.journal = NewJournal::sized, .journal_bytes = 4 * MiB}).value();
}

void KilledWriter::kill_one() {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t pid = fork();
  if (pid == 0) work_until_killed(pool_, source_, known_, ends[1]);
  close(ends[1]);
  // Mostly while it works, which a busy machine lets it begin late.
  constexpr int kBeginsWithin = 5000;  // milliseconds
  pollfd said_something{ends[0], POLLIN, 0};
  if (random_() % 4 != 0) poll(&said_something, 1, kBeginsWithin);
  usleep(static_cast<useconds_t>(random_() % 40000));
  kill(pid, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  for (int said = 0; read(ends[0], &said, sizeof(said)) == sizeof(said);) known_ = said + 1;
  close(ends[0]);
}

void KilledWriter::look() {
  Filesystem fs = mount(pool_);
  const int first = 1000000 + static_cast<int>(rounds_) * kAfter;
  for (int i = 0; i < kAfter; ++i) write_file(fs, "/after" + std::to_string(i), first + i, false);
  if (rounds_ % 4 == 0) {                     // what the dead was writing to loses its owner now
    static_cast<void>(fs.unlink("/pinned"));  // where a commit knew of it
    for (int i = kAfter; i < 2 * kAfter; ++i) write_file(fs, "/after" + std::to_string(i), first + i, false);
  }
  for (int i = std::max(0, known_ - 50); i < known_; ++i) {
    const std::string path = "/f" + std::to_string(i % 400);
    EXPECT_TRUE(holds(fs, path, i)) << "round " << rounds_ << ": " << path << " is not what was synced";
  }
  for (int i = 0; i < 2 * kAfter && fs.stat("/after" + std::to_string(i)); ++i) {
    const std::string path = "/after" + std::to_string(i);
    EXPECT_TRUE(holds(fs, path, first + i)) << "round " << rounds_ << ": a dead process's device wrote to another file";
    fs.unlink(path).value();
  }
  fs.unmount({.deadline = std::chrono::seconds(5)}).value();
  EXPECT_TRUE(e2fsck_clean(pool_)) << "round " << rounds_;
}

void KilledWriter::round() {
  ++rounds_;
  kill_one();
  if (!::testing::Test::HasFatalFailure()) look();
}

}  // namespace holdfast::test
