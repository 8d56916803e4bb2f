// Truncate and punch on the worker, draining, pins of many ranges, and detach under a copy that lasts: ends are seen on
// eventfds and at marks, never by waiting for a time.
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <future>

#include "device/copy.h"
#include "filesystem/async.h"
#include "filesystem/fallocate.h"
#include "filesystem/rename.h"
#include "support/mark_stop.h"
#include "support/memory_pool.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Async : public MemoryPool {
 protected:
  struct EventFd {
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ~EventFd() { close(fd); }
    std::uint64_t value() const {
      eventfd_t value = 0;
      return eventfd_read(fd, &value) == 0 ? value : 0;
    }
  };

  FilePtr file_of(std::size_t bytes, const std::string& path = "/file") {
    FilePtr file = open(path);
    EXPECT_EQ(write(file, 0, pattern(bytes, 1)), bytes);
    return file;
  }
  // The code that done() got, in time.
  static int code_of(std::future<int>& done) {
    return done.wait_for(seconds(20)) == std::future_status::ready ? done.get() : -1;
  }
};

// What the callback got.
filesystem::Done into(std::shared_ptr<std::promise<int>> promise) {
  return [promise = std::move(promise)](Status status) { promise->set_value(status ? 0 : status.error().code()); };
}

TEST_F(Async, OneThreadServesManyBreaks) {
  start();
  constexpr int kFiles = 40;
  std::vector<FilePtr> files;
  std::vector<Pin> pins;
  std::vector<std::future<int>> done;
  const EventFd event;
  for (int i = 0; i < kFiles; ++i) {
    files.push_back(file_of(16 * KiB, fmt::format("/{}", i)));
    pins.push_back(pin(files.back(), 4096, 4096));
    auto promise = std::make_shared<std::promise<int>>();
    done.push_back(promise->get_future());
    const Status begun = i % 2 == 0 ? filesystem::truncate_async(files.back(), 0, OnPinned::wait, Deadline::never(),
                                                                 into(promise), event.fd)
                                    : filesystem::punch_async(files.back(), 0, 8192, OnPinned::wait, Deadline::never(),
                                                              into(promise), event.fd);
    ASSERT_TRUE(begun);
  }
  EXPECT_EQ(event.value(), 0U);
  while (!pins.empty()) pins.pop_back();
  for (std::future<int>& each : done) EXPECT_EQ(code_of(each), 0);
  EXPECT_EQ(event.value(), std::uint64_t{kFiles});
  for (int i = 0; i < kFiles; ++i) {
    EXPECT_EQ(size_of(files[static_cast<std::size_t>(i)]), i % 2 == 0 ? 0U : 16 * KiB);
  }
}

TEST_F(Async, DeadlinesAndErrorsReachTheCallback) {
  start();
  const FilePtr file = file_of(16 * KiB);
  const Pin held = pin(file, 0, 4096);
  auto promise = std::make_shared<std::promise<int>>();
  std::future<int> done = promise->get_future();
  ASSERT_TRUE(filesystem::truncate_async(file, 0, OnPinned::wait, Deadline::after(milliseconds(5)), into(promise), -1));
  EXPECT_EQ(code_of(done), ETIMEDOUT);
  EXPECT_EQ(size_of(file), 16 * KiB);
  const Status known =
      filesystem::truncate_async(file, ~std::uint64_t{0}, OnPinned::wait, Deadline::never(), into(nullptr), -1);
  ASSERT_FALSE(known);
  EXPECT_EQ(known.error().code(), EFBIG);
}

TEST_F(Async, TheFileIsLetGoBeforeTheCallback) {
  start();
  const FilePtr file = file_of(64 * KiB);
  const std::weak_ptr<filesystem::OpenFile> watched = file;
  const auto holders_seen = [&](Deadline deadline) {
    const auto holders = std::make_shared<std::promise<long>>();
    std::future<long> seen = holders->get_future();
    const auto done = [watched, holders](const Status&) { holders->set_value(watched.use_count()); };
    EXPECT_TRUE(filesystem::truncate_async(file, 0, OnPinned::wait, deadline, done, -1));
    return seen.get();
  };
  {
    const Pin held = pin(file, 0, 4096);
    EXPECT_EQ(holders_seen(Deadline::after(milliseconds(5))), 1) << "this test alone, after an error";
  }
  EXPECT_EQ(holders_seen(Deadline::never()), 1) << "this test alone";
}

TEST_F(Async, AFileThatIsClosedMeanwhileIsTruncatedAllTheSame) {
  start();
  FilePtr file = file_of(64 * KiB);
  Pin held = pin(file, 0, 4096);
  auto promise = std::make_shared<std::promise<int>>();
  std::future<int> done = promise->get_future();
  ASSERT_TRUE(filesystem::truncate_async(file, 4096 * 2, OnPinned::detach, Deadline::never(), into(promise), -1));
  file.reset();
  EXPECT_EQ(code_of(done), 0);
  EXPECT_EQ(size_of(open("/file", false)), 8192U);
}

TEST_F(Async, DrainTellsWhenTheLastPinOfTheQuarantineIsGone) {
  start();
  const EventFd event;
  ASSERT_TRUE(filesystem::drain(*core_, event.fd));
  EXPECT_EQ(event.value(), 1U) << "nothing is in quarantine";
  FilePtr file = file_of(64 * KiB);
  Pin first = pin(file, 0, 4096);
  Pin second = pin(file, 8192, 4096);
  ASSERT_TRUE(truncate(file, 8192, OnPinned::detach));
  ASSERT_TRUE(unlink("/file"));
  file.reset();
  ASSERT_TRUE(filesystem::drain(*core_, event.fd));
  EXPECT_EQ(event.value(), 0U);
  second.release();
  settle();
  EXPECT_EQ(event.value(), 0U);
  first.release();
  settle();
  EXPECT_EQ(event.value(), 1U);
  EXPECT_EQ(free_pages(), all_free_);
}

TEST_F(Async, RenameOverAPinnedFileReturnsAtOnceAndKeepsItsBlocks) {
  start();
  FilePtr old_file = file_of(64 * KiB, "/target");
  Pin held = pin(old_file, 0, 64 * KiB);
  Bytes kept;
  for (const Segment& part : held.segments()) kept.insert(kept.end(), part.address, part.address + part.length);
  old_file.reset();
  file_of(4096, "/source");
  ASSERT_TRUE(filesystem::rename(*core_, "/source", "/target", filesystem::RenameMode::replace));
  EXPECT_EQ(size_of(open("/target", false)), 4096U);
  settle();
  EXPECT_EQ(core_->quarantine().bytes(), 64 * KiB);
  write(open("/filler"), 0, pattern(20 * MiB, 5));
  EXPECT_EQ(free_pages(), 0U);
  Bytes now;
  for (const Segment& part : held.segments()) now.insert(now.end(), part.address, part.address + part.length);
  EXPECT_EQ(now, kept);
  held.release();
  settle();
  EXPECT_EQ(free_pages(), 16U);
}

TEST_F(Async, ACopyThatLastsDoesNotStopADetachAndKeepsItsBlocks) {
  start();
  const FilePtr file = file_of(64 * KiB);
  MarkStop copying("read.held");
  Task reader([&] { return read(file, 0, 64 * KiB); });
  ASSERT_TRUE(copying.wait_until_stopped());
  ASSERT_TRUE(truncate(file, 0, OnPinned::detach));
  EXPECT_EQ(core_->quarantine().bytes(), 64 * KiB) << "what the copy touches is not free yet";
  write(open("/filler"), 0, pattern(20 * MiB, 5));
  copying.go_on();
  // It read the size after the truncate: nothing is there any more, and nobody else's bytes are shown.
  EXPECT_EQ(reader.get().size(), 0U);
  const EventFd event;
  settle();
  ASSERT_TRUE(filesystem::drain(*core_, event.fd));
  EXPECT_EQ(event.value(), 1U);
  EXPECT_EQ(free_pages(), 16U);
}

TEST_F(Async, PinManyIsAllOrNothingAndWaitsWithNothingHeld) {
  start();
  const FilePtr a = file_of(64 * KiB, "/a");
  const FilePtr b = file_of(64 * KiB, "/b");
  std::vector<filesystem::InodeRange> ranges{{&*b->inode, 0, 100}, {&*a->inode, 4096, 8192}, {&*b->inode, 8192, 10}};
  {
    const auto pins = filesystem::pin_many(*core_, ranges, {});
    ASSERT_TRUE(pins);
    ASSERT_EQ(pins->size(), 3U);
    EXPECT_EQ((*pins)[0].length(), 100U);
    EXPECT_EQ((*pins)[1].length(), 8192U);
    EXPECT_EQ(filesystem::pin_report(*core_, 10).size(), 3U);
  }
  ranges.push_back({&*a->inode, 64 * KiB, 1});
  const auto too_far = filesystem::pin_many(*core_, ranges, {});
  ASSERT_FALSE(too_far);
  EXPECT_EQ(too_far.error().code(), ENXIO);
  EXPECT_TRUE(filesystem::pin_report(*core_, 10).empty());
  ranges.pop_back();
  // A break of /b waits for a pin of this thread's; another thread that wants both holds nothing of /a meanwhile.
  Pin held = pin(b, 0, 4096);
  MarkCount breaking("layout.break.found_pin");
  Task cutting([&] { return truncate(b, 0).has_value(); });
  ASSERT_TRUE(breaking.wait_until(1));
  MarkCount waiting("pin.waits");
  Task many([&] {
    const auto pins = filesystem::pin_many(*core_, ranges, {});
    return pins ? 0 : pins.error().code();
  });
  ASSERT_TRUE(waiting.wait_until(1));
  EXPECT_TRUE(truncate(a, 0, OnPinned::fail)) << "nothing of /a is pinned by the one that waits";
  held.release();
  EXPECT_TRUE(cutting.get());
  EXPECT_EQ(many.get(), ENXIO);
}

TEST_F(Async, TwoThreadsAndEveryOperationOnOneFile) {
  start(8 * MiB);
  FilePtr file = open("/file");
  const auto work = [&](unsigned seed) {
    std::uint64_t state = seed;
    const auto random = [&state](std::uint64_t below) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      return (state >> 33) % below;
    };
    for (int i = 0; i < 300; ++i) {
      const std::uint64_t offset = random(300'000);
      const std::uint64_t length = 1 + random(30'000);
      const OnPinned policy = random(2) == 0 ? OnPinned::detach : OnPinned::wait;
      const Bytes bytes(length, static_cast<std::byte>(seed));
      switch (random(7)) {
        case 0:
          static_cast<void>(write(file, offset, bytes));
          break;
        case 1: {
          // Every byte is a writer's or a hole's.
          for (const std::byte each : read(file, offset, length)) {
            if (each != std::byte{0} && each != std::byte{1} && each != std::byte{2}) return false;
          }
          break;
        }
        case 2:
          if (!truncate(file, offset, policy)) return false;
          break;
        case 3:
          if (!filesystem::punch(*file->inode, offset, length, policy, Deadline::never())) return false;
          break;
        case 4:
          if (!filesystem::append(*file->inode, bytes)) return false;
          break;
        case 5:
          if (!filesystem::allocate(*file->inode, offset, length, random(2) == 0)) return false;
          break;
        default: {
          auto held = filesystem::pin(*file->inode, offset, length, {.access = Access::write});
          if (!held && held.error().code() != ENXIO) return false;
          if (!held) break;
          // As a device does it: two transfers to the same bytes, and reads of them, are no race of this program.
          for (const Segment& part : held->segments()) {
            if (device::store(part.address, bytes.data(), part.length) != device::CopyOutcome::done) return false;
          }
          break;
        }
      }
    }
    return true;
  };
  Task one([&] { return work(1); });
  Task two([&] { return work(2); });
  EXPECT_TRUE(one.get());
  EXPECT_TRUE(two.get());
  EXPECT_EQ(file->inode->mapping.check().value_or(""), "");
  ASSERT_TRUE(unlink("/file"));
  file.reset();
  settle();
  EXPECT_EQ(free_pages(), all_free_);
}

}  // namespace
}  // namespace holdfast::test
