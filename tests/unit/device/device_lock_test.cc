// Goal: one writer or many readers, between processes and inside one, and an error that tells who is in the way.
// Method: real opens in this process and in children; the parser is also shown texts of /proc/locks.
#include "device/device_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "device/file_descriptor.h"
#include "support/child.h"
#include "support/scratch.h"

namespace holdfast::device {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

TEST(FlockHolders, FindsTheLinesOfOneFileOnly) {
  const std::string text =
      "1: FLOCK  ADVISORY  WRITE 41 08:1f:1234 0 EOF\n"
      "1: -> FLOCK  ADVISORY  WRITE 42 08:1f:1234 0 EOF\n"
      "2: POSIX  ADVISORY  WRITE 43 08:1f:1234 0 EOF\n"
      "3: FLOCK  ADVISORY  READ 44 08:1f:12345 0 EOF\n"
      "4: FLOCK  ADVISORY  READ 45 08:1e:1234 0 EOF\n"
      "5: OFDLCK ADVISORY  READ -1 08:1f:1234 0 EOF\n"
      "6: FLOCK  ADVISORY  READ  46 08:1f:1234 0 EOF";
  EXPECT_THAT(flock_holders(text, gnu_dev_makedev(8, 0x1f), 1234), ElementsAre(41, 46));
  EXPECT_THAT(flock_holders(text, gnu_dev_makedev(9, 0x1f), 1234), IsEmpty());
}

TEST(FlockHolders, TakesNothingFromTextsThatItDoesNotKnow) {
  for (const char* text :
       {"", "\n\n", "1:", "1: FLOCK", "1: FLOCK  ADVISORY  WRITE x 08:1f:1234 0 EOF",
        "1: FLOCK  ADVISORY  WRITE 41 081f1234", "1: FLOCK  ADVISORY  WRITE 41 :::", "FLOCK FLOCK FLOCK"}) {
    EXPECT_THAT(flock_holders(text, gnu_dev_makedev(8, 0x1f), 1234), IsEmpty()) << text;
  }
}

TEST(DescribeProcess, TellsCommandAndStart) {
  EXPECT_THAT(describe_process(getpid()),
              MatchesRegex("pid [0-9]+ \\(.+\\), started [0-9]+-[0-9]+-[0-9]+ [0-9]+:[0-9]+:[0-9]+"));
}

TEST(DescribeProcess, SaysThatAProcessHasEnded) {
  test::Child child([](test::Child&) { return std::string(); });
  const pid_t pid = child.pid();
  ASSERT_TRUE(child.wait().exited);
  EXPECT_THAT(describe_process(pid), HasSubstr("has ended"));
}

class DeviceLock : public testing::Test {
 protected:
  void SetUp() override { std::ofstream(path_) << "pool"; }
  FileDescriptor open_again() const { return FileDescriptor(::open(path_.c_str(), O_RDWR | O_CLOEXEC)); }

  test::ScratchDirectory directory_;
  const std::string path_ = directory_.file("pool.img");
};

TEST_F(DeviceLock, TwoOpensOfOneProcessExcludeEachOther) {
  const FileDescriptor first = open_again();
  const FileDescriptor second = open_again();
  ASSERT_TRUE(lock_device(first.get(), path_, OpenMode::read_write));
  const Status refused = lock_device(second.get(), path_, OpenMode::read_write);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), EBUSY);
  EXPECT_EQ(refused.error().object(), path_);
  EXPECT_THAT(refused.error().reason(), HasSubstr(fmt::format("in use by pid {} (", getpid())));
  EXPECT_THAT(refused.error().reason(), HasSubstr("which is this process"));
  EXPECT_FALSE(lock_device(second.get(), path_, OpenMode::read_only));
  unlock_device(first.get());
  EXPECT_TRUE(lock_device(second.get(), path_, OpenMode::read_write));
}

TEST_F(DeviceLock, ReadersShareAndKeepWritersOut) {
  const FileDescriptor first = open_again();
  const FileDescriptor second = open_again();
  const FileDescriptor writer = open_again();
  ASSERT_TRUE(lock_device(first.get(), path_, OpenMode::read_only));
  ASSERT_TRUE(lock_device(second.get(), path_, OpenMode::read_only));
  const Status refused = lock_device(writer.get(), path_, OpenMode::read_write);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().reason(), HasSubstr("and 1 more"));
}

TEST_F(DeviceLock, NamesTheOtherProcessAndItsDeathFrees) {
  test::Child holder([this](test::Child& self) -> std::string {
    const FileDescriptor file = open_again();
    const Status locked = lock_device(file.get(), path_, OpenMode::read_write);
    if (!locked) return locked.error().message();
    self.ready_and_wait();
    return {};
  });
  ASSERT_TRUE(holder.wait_until_ready()) << holder.wait().message;
  const FileDescriptor file = open_again();
  const Status refused = lock_device(file.get(), path_, OpenMode::read_write);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), EBUSY);
  EXPECT_THAT(refused.error().reason(),
              MatchesRegex(fmt::format("in use by pid {} \\(.+\\), started .*", holder.pid())));
  EXPECT_THAT(refused.error().remedy(), HasSubstr("close it there"));
  holder.go_on();
  EXPECT_EQ(holder.wait().status, 0);
  EXPECT_TRUE(lock_device(file.get(), path_, OpenMode::read_write));
}

TEST_F(DeviceLock, ALockLeftToAGrandchildNamesTheProcessThatHasEnded) {
  // The child locks, hands its descriptor to a child of its own, and ends.
  std::array<int, 2> line{};
  ASSERT_EQ(pipe(line.data()), 0);
  const test::ChildEnd end = test::run_in_child([this, &line]() -> std::string {
    const FileDescriptor file = open_again();
    const Status locked = lock_device(file.get(), path_, OpenMode::read_write);
    if (!locked) return locked.error().message();
    if (fork() == 0) {
      close(line[1]);
      char ended = 0;
      static_cast<void>(read(line[0], &ended, 1));  // until the test closes its end
      _exit(0);
    }
    return {};
  });
  close(line[0]);
  ASSERT_EQ(end.status, 0) << end.message;
  const FileDescriptor file = open_again();
  const Status refused = lock_device(file.get(), path_, OpenMode::read_write);
  close(line[1]);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().reason(), HasSubstr("has ended and left the open file"));
}

}  // namespace
}  // namespace holdfast::device
