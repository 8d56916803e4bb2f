// Goal: fence makes what was flushed durable, and says so when it did not; threads wait for each other's writes.
// Method: the kernel's own list of dirty pages of a mapped file (pages that are written are clean: /proc/self/smaps); a
// descriptor that cannot be written back; a thread stopped inside its write.
#include "device/write_back.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string_view>
#include <thread>

#include "base/fault_point.h"
#include "base/mark.h"
#include "base/units.h"
#include "device/file_descriptor.h"
#include "support/mark_stop.h"
#include "support/scratch.h"
#include "support/skip.h"

namespace holdfast::device {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kSize = 64 * MiB;

// Bytes of the mapping at `begin` whose translations are dirty.
std::uint64_t dirty_bytes(const std::byte* begin) {
  std::ifstream smaps("/proc/self/smaps");
  std::ostringstream start;
  start << std::hex << reinterpret_cast<std::uintptr_t>(begin) << '-';
  std::string line;
  bool inside = false;
  std::uint64_t kibibytes = 0;
  while (std::getline(smaps, line)) {
    if (line.rfind(start.str(), 0) == 0) {
      inside = true;
    } else if (inside && (line.rfind("Shared_Dirty:", 0) == 0 || line.rfind("Private_Dirty:", 0) == 0)) {
      kibibytes += std::stoull(line.substr(line.find(':') + 1));
    } else if (inside && line.rfind("VmFlags:", 0) == 0) {
      break;
    }
  }
  return kibibytes * KiB;
}

class WriteBackOnDisk : public testing::Test {
 protected:
  void SetUp() override {
    if (test::disk_parent().empty()) HF_SKIP_CAPABILITY("disk", "no writable directory on a disk file system");
    directory_ = std::make_unique<test::ScratchDirectory>(test::disk_parent());
    file_ = FileDescriptor(::open(directory_->file("pool").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(ftruncate(file_.get(), static_cast<off_t>(kSize)), 0);
    void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    window_ = static_cast<std::byte*>(memory);
  }
  void TearDown() override {
    if (window_ != nullptr) munmap(window_, kSize);
  }
  void store(std::uint64_t offset) { window_[offset] = std::byte{1}; }

  std::unique_ptr<test::ScratchDirectory> directory_;
  FileDescriptor file_;
  std::byte* window_ = nullptr;
};

// Where the sync of one range may leave out what finds the others.
TEST_F(WriteBackOnDisk, SeveralRangesOnAnUnknownFileSystemSyncTheFile) {
  fault_point::arm("write_back.unknown_host", 1);
  WriteBack write_back(file_.get(), window_, "pool");
  fault_point::disarm_all();
  const test::MarkCount whole("write_back.fdatasync");
  store(0);
  write_back.flush(0, 5);
  write_back.fence().value();
  EXPECT_EQ(whole.passings(), 0u) << "one range says it all";
  for (const std::uint64_t page : {1U, 100U, 5000U}) {
    store(page * kPageBytes);
    write_back.flush(page * kPageBytes, 5);
  }
  write_back.fence().value();
  EXPECT_EQ(whole.passings(), 1u);
  EXPECT_EQ(dirty_bytes(window_), 0u);
}

TEST_F(WriteBackOnDisk, FenceWritesTheFlushedRangesAndNoOthers) {
  WriteBack write_back(file_.get(), window_, "pool");
  for (const std::uint64_t page : {0U, 100U, 101U, 5000U, 9000U}) store(page * kPageBytes);
  store(12000 * kPageBytes);  // somebody else's
  ASSERT_EQ(dirty_bytes(window_), 6 * kPageBytes);
  for (const std::uint64_t page : {9000U, 0U, 100U, 101U, 5000U}) write_back.flush(page * kPageBytes + 17, 5);
  EXPECT_EQ(dirty_bytes(window_), 6 * kPageBytes) << "flush writes nothing";
  const Status fenced = write_back.fence();
  ASSERT_TRUE(fenced) << fenced.error().message();
  EXPECT_EQ(dirty_bytes(window_), kPageBytes);
}

TEST_F(WriteBackOnDisk, ARangeAcrossPagesIsWrittenWhole) {
  WriteBack write_back(file_.get(), window_, "pool");
  store(10 * kPageBytes - 1);
  store(10 * kPageBytes);
  write_back.flush(10 * kPageBytes - 1, 2);
  ASSERT_TRUE(write_back.fence());
  EXPECT_EQ(dirty_bytes(window_), 0U);
}

// More ranges than are kept apart: all of the file is written then. Few of them are dirty, for the disk's sake.
TEST_F(WriteBackOnDisk, ManyRangesAreAllWritten) {
  WriteBack write_back(file_.get(), window_, "pool");
  constexpr std::uint64_t kPages = kSize / kPageBytes;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    const std::uint64_t page = i * 6007 % kPages;  // never two neighbours in a row
    if (i % 100 == 0) store(page * kPageBytes);
    write_back.flush(page * kPageBytes, 1);
  }
  ASSERT_EQ(dirty_bytes(window_), 60 * kPageBytes);
  ASSERT_TRUE(write_back.fence());
  EXPECT_EQ(dirty_bytes(window_), 0U);
}

// Stops the first thread that writes until a second one waits for it.
class StopWriter {
 public:
  StopWriter() { mark::set_handler(&StopWriter::reached, this); }
  ~StopWriter() { mark::set_handler(nullptr, nullptr); }
  StopWriter(const StopWriter&) = delete;
  StopWriter& operator=(const StopWriter&) = delete;
  void wait_until_writing() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return writing_; });
  }
  bool waited() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

 private:
  static void reached(void* self, const char* name) { static_cast<StopWriter*>(self)->reached(name); }
  void reached(std::string_view name) {
    std::unique_lock lock(mutex_);
    if (name == "write_back.writing" && !writing_) {
      writing_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return waiting_; });
    } else if (name == "write_back.wait") {
      waiting_ = true;
      changed_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool writing_ = false;
  bool waiting_ = false;
};

// W2: the second thread's range is in the first one's write. Its fence must not return before that write has ended.
TEST_F(WriteBackOnDisk, AFenceWaitsForTheThreadThatTookItsRange) {
  StopWriter stop;
  WriteBack write_back(file_.get(), window_, "pool");
  store(0);
  store(7 * kPageBytes);
  write_back.flush(0, 1);
  write_back.flush(7 * kPageBytes, 1);
  std::thread first([&write_back] { EXPECT_TRUE(write_back.fence()); });
  stop.wait_until_writing();
  ASSERT_TRUE(write_back.fence());
  EXPECT_TRUE(stop.waited());
  EXPECT_EQ(dirty_bytes(window_), 0U);
  first.join();
}

TEST_F(WriteBackOnDisk, AFailedWriteIsToldByEveryLaterFence) {
  // An address range that is not mapped makes the write fail without touching a disk.
  void* gone = mmap(nullptr, kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(gone, MAP_FAILED);
  munmap(gone, kSize);
  WriteBack write_back(file_.get(), static_cast<std::byte*>(gone), "pool");
  EXPECT_TRUE(write_back.fence()) << "nothing to write";
  write_back.flush(0, 1);
  for (int round = 0; round < 2; ++round) {
    const Status fenced = write_back.fence();
    ASSERT_FALSE(fenced);
    EXPECT_EQ(fenced.error().code(), EIO);
    EXPECT_EQ(fenced.error().object(), "pool");
    EXPECT_THAT(fenced.error().reason(), HasSubstr("may be lost"));
  }
}

}  // namespace
}  // namespace holdfast::device
