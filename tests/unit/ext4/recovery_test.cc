// Goal: a mount brings back what a crash left, whoever wrote the journal, and refuses by name what no crash leaves.
// Method: superblocks cut short, logs damaged in places that are known, images that the kernel was using when they were
// copied, and a process that is killed at random moments.
#include "ext4/recovery.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "base/crc32c.h"
#include "ext4/checksum.h"
#include "ext4/journal_scan.h"
#include "journal_bed.h"
#include "support/child.h"
#include "support/loop_mount.h"
#include "support/skip.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Format;
using test::CrashCopy;

// An image's journal, laid open.
class OpenLog {
 public:
  explicit OpenLog(const std::string& path)
      : device_(device::Device::open(path, device::OpenMode::read_write).value()),
        volume_(read_superblock(*device_).value().super),
        area_(JournalArea::find(*device_, volume_, check_geometry(volume_, *device_).value()).value()),
        super_(JournalSuper::read(*device_, area_).value()) {}

  LogBlock* block(std::uint32_t index) { return reinterpret_cast<LogBlock*>(device_->at(Pfn(area_.at(index)))); }
  JournalSuperWords* words() { return reinterpret_cast<JournalSuperWords*>(block(0)); }
  ext2_super_block* volume() { return reinterpret_cast<ext2_super_block*>(device_->at(kSuperblockOffset)); }
  JournalSuper& super() { return super_; }
  void write_super() { super_.write(*device_, area_).value(); }

  // Blocks of that type in the log's live part, in order.
  std::vector<std::uint32_t> find(LogBlockType type) {
    std::vector<std::uint32_t> found;
    for (std::uint32_t index = super_.first(); index < super_.end(); ++index) {
      const std::uint32_t sequence = reinterpret_cast<const LogHeader*>(block(index)->data())->sequence.value();
      if (!sequence_after(super_.sequence(), sequence) && type_of(*block(index), sequence) == type) {
        found.push_back(index);
      }
    }
    return found;
  }

 private:
  std::unique_ptr<device::Device> device_;
  ext2_super_block volume_;
  JournalArea area_;
  JournalSuper super_;
};

// Three commits that are not home.
void make_log(JournalBed& bed) {
  bed.mount();
  for (const char* name : {"one", "two", "three"}) {
    make_named(*bed, bed->root(), name);
    bed->commit().value();
  }
  bed.kill();
}

bool has_name(const std::string& path, const std::string& name) {
  const auto device = device::Device::open(path, device::OpenMode::read_only).value();
  const auto format = mount(*device, {.read_only = true}).value();
  return format->lookup(format->root(), name).value().has_value();
}

Error refusal_of(const std::string& path, bool read_only = false) {
  const auto device = device::Device::open(path, device::OpenMode::read_write).value();
  return mount(*device, {.read_only = read_only}).error();
}

void expect_damaged(const std::string& path, const std::string& what) {
  const std::string before = test::run_program("cksum < '" + path + "'").output;
  for (const bool read_only : {false, true}) {
    const Error refusal = refusal_of(path, read_only);
    EXPECT_EQ(refusal.code(), EUCLEAN) << refusal.message();
    EXPECT_NE(refusal.message().find(what), std::string::npos) << refusal.message();
    EXPECT_NE(refusal.message().find("e2fsck -fy"), std::string::npos) << refusal.message();
  }
  EXPECT_EQ(test::run_program("cksum < '" + path + "'").output, before);
}

TEST(Recovery, ATornLastCommitIsTheEnd) {
  JournalBed bed("");
  make_log(bed);
  {
    OpenLog log(bed.path());
    (*log.block(log.find(LogBlockType::commit).back()))[20] ^= std::byte{1};
  }
  static_cast<void>(recover_by_mount(bed.path()));
  EXPECT_TRUE(has_name(bed.path(), "two"));
  EXPECT_FALSE(has_name(bed.path(), "three"));
}

TEST(Recovery, ABrokenCommitBeforeAnotherIsDamage) {
  JournalBed bed("");
  make_log(bed);
  {
    OpenLog log(bed.path());
    const std::vector<std::uint32_t> commits = log.find(LogBlockType::commit);
    (*log.block(commits[commits.size() - 2]))[20] ^= std::byte{1};
  }
  expect_damaged(bed.path(), "another transaction follows");
}

TEST(Recovery, ABrokenCopyIsDamage) {
  JournalBed bed("");
  make_log(bed);
  {
    OpenLog log(bed.path());
    (*log.block(log.find(LogBlockType::descriptor).back() + 1))[100] ^= std::byte{1};
  }
  expect_damaged(bed.path(), "does not match its checksum");
}

TEST(Recovery, ABrokenDescriptorIsDamage) {
  JournalBed bed("");
  make_log(bed);
  {
    OpenLog log(bed.path());
    (*log.block(log.find(LogBlockType::descriptor).front()))[3000] ^= std::byte{1};
  }
  expect_damaged(bed.path(), "a checksum in transaction");
}

TEST(Recovery, JournalsThatAreRefused) {
  const auto spoiled = [](const auto& spoil) {
    auto bed = std::make_unique<JournalBed>("");
    make_log(*bed);
    OpenLog log(bed->path());
    spoil(log);
    return bed;
  };
  expect_damaged(spoiled([](OpenLog& log) { log.words()->header.magic = 1; })->path(), "no magic");
  expect_damaged(spoiled([](OpenLog& log) { log.words()->start = 70000; })->path(), "begins at block 70000");
  expect_damaged(spoiled([](OpenLog& log) { log.words()->error = 5; })->path(), "records error 5");
  expect_damaged(spoiled([](OpenLog& log) { log.words()->blocks = 70000; })->path(), "a ring from");
  // A log that is elsewhere than the superblock, whose checksum does not match, says.
  expect_damaged(spoiled([](OpenLog& log) { log.words()->start = 900; })->path(), "does not begin where");
  const auto fast =
      spoiled([](OpenLog& log) { log.words()->incompatible = log.words()->incompatible.value() | kJournalFastCommit; });
  const Error refusal = refusal_of(fast->path());
  EXPECT_EQ(refusal.code(), ENOTSUP);
  EXPECT_NE(refusal.message().find("fast_commit"), std::string::npos) << refusal.message();
  EXPECT_NE(refusal.message().find("tune2fs -O ^fast_commit"), std::string::npos) << refusal.message();
}

TEST(Recovery, FastCommitImagesAreRefusedWithTheRemedy) {
  JournalBed bed("-t ext4 -O fast_commit");
  const Error refusal = refusal_of(bed.path());
  EXPECT_EQ(refusal.code(), ENOTSUP);
  EXPECT_NE(refusal.message().find("tune2fs -O ^fast_commit"), std::string::npos) << refusal.message();
  EXPECT_EQ(test::run_program("tune2fs -O ^fast_commit '" + bed.path() + "'").status, 0);
  bed.mount();
  bed.unmount();
  EXPECT_TRUE(test::e2fsck_clean(bed.path()));
}

// Line by line: what was stored before the cut is new, the rest old.
TEST(Recovery, ATornJournalSuperblockSaysOneOfTwoTruths) {
  JournalBed bed("");
  make_log(bed);
  const std::string old = bed.copy("old");
  {
    OpenLog log(bed.path());
    // As if a checkpoint had written its first line and nothing else: empty log, later sequence.
    const LogContents contents = [&] {
      const auto device = device::Device::open(old, device::OpenMode::read_only).value();
      const ext2_super_block super = read_superblock(*device).value().super;
      const Geometry geometry = check_geometry(super, *device).value();
      const JournalArea area = JournalArea::find(*device, super, geometry).value();
      return scan_log(*device, area, JournalSuper::read(*device, area).value(), geometry).value();
    }();
    EXPECT_GT(contents.transactions, 2u);
    log.words()->checksum = log.words()->checksum.value() ^ 1;
  }
  // The old line: the log is there.
  EXPECT_GT(recover_by_mount(bed.path()).transactions, 2u);
  EXPECT_TRUE(has_name(bed.path(), "three"));
}

// Every commit has a copy of the superblock, so whichever of its lines were old, it is found.
TEST(Recovery, ATornSuperblockComesFromTheLog) {
  for (const char* mark : {"ext4.journal.home", "ext4.journal.committed"}) {
    JournalBed bed("");
    make_log(bed);
    if (std::string(mark) == "ext4.journal.home") {
      // The log has ended, and what clears needs_recovery was cut short.
      static_cast<void>(recover_by_mount(bed.path()));
    }
    {
      const auto device = device::Device::open(bed.path(), device::OpenMode::read_write).value();
      auto* const super = reinterpret_cast<ext2_super_block*>(device->at(kSuperblockOffset));
      super->s_wtime ^= 0x55;
      super->s_free_inodes_count += 7;
    }
    const filesystem::Recovery recovery = recover_by_mount(bed.path());
    EXPECT_TRUE(recovery.superblock_restored) << mark;
    EXPECT_TRUE(has_name(bed.path(), "three")) << mark;
  }
}

TEST(Recovery, ASuperblockThatNothingRestoresIsRefused) {
  JournalBed bed("-t ext4");
  {
    const auto device = device::Device::open(bed.path(), device::OpenMode::read_write).value();
    reinterpret_cast<ext2_super_block*>(device->at(kSuperblockOffset))->s_wtime ^= 0x55;
  }
  const Error refusal = refusal_of(bed.path());
  EXPECT_EQ(refusal.code(), EUCLEAN);
  EXPECT_NE(refusal.message().find("checksum does not match"), std::string::npos) << refusal.message();
}

TEST(Recovery, AnAsynchronousLogIsRefusedByName) {
  JournalBed bed("");
  make_log(bed);
  {
    OpenLog log(bed.path());
    log.words()->incompatible = log.words()->incompatible.value() | kJournalAsyncCommit;
    JournalSuperWords words = *log.words();
    words.checksum = 0;
    log.words()->checksum = crc32c(~std::uint32_t{0}, &words, sizeof(words));
  }
  const Error refusal = refusal_of(bed.path());
  EXPECT_EQ(refusal.code(), ENOTSUP);
  EXPECT_NE(refusal.message().find("async_commit"), std::string::npos) << refusal.message();
  EXPECT_NE(refusal.message().find("e2fsck -p"), std::string::npos) << refusal.message();
  // What it says to do helps.
  EXPECT_TRUE(e2fsck_recovers(bed.path()));
  EXPECT_EQ(recover_by_mount(bed.path()).transactions, 0u);
  EXPECT_TRUE(has_name(bed.path(), "three"));
}

// Resized while it was mounted: the superblock at home counts fewer blocks than the log writes to.
TEST(Recovery, AVolumeThatGrew) {
  JournalBed bed("", 400 * MiB);
  bed.mount();
  for (int i = 0; i < 6; ++i) make_named(*bed, bed->root(), fmt::format("d{}", i), FileType::directory);
  bed->commit().value();
  bed.kill();
  {
    const auto device = device::Device::open(bed.path(), device::OpenMode::read_write).value();
    auto* const super = reinterpret_cast<ext2_super_block*>(device->at(kSuperblockOffset));
    ASSERT_GT(super->s_blocks_count, super->s_blocks_per_group);
    super->s_blocks_count = super->s_blocks_per_group;
    super->s_inodes_count = super->s_inodes_per_group;
    super->s_checksum = superblock_checksum(*super);
  }
  EXPECT_GT(recover_by_mount(bed.path()).transactions, 0u);
  EXPECT_TRUE(has_name(bed.path(), "d5"));
}

TEST(Recovery, SequencesWrap) {
  JournalBed bed("");
  {
    OpenLog log(bed.path());
    log.super().set_log(0, 0xfffffffb);
    log.write_super();
  }
  bed.mount();
  for (int i = 0; i < 10; ++i) {
    const InodeNumber directory = make_named(*bed, bed->root(), fmt::format("d{}", i), FileType::directory);
    static_cast<void>(directory);
    bed->commit().value();
    if (i % 2 == 0) take_away(*bed, bed->root(), fmt::format("d{}", i));
  }
  bed->commit().value();
  bed.kill();
  EXPECT_TRUE(e2fsck_recovers(bed.copy("e2fsck")));
  const filesystem::Recovery recovery = recover_by_mount(bed.path());
  EXPECT_EQ(recovery.transactions, 10u);
  EXPECT_GT(recovery.revoked, 0u);
  EXPECT_TRUE(has_name(bed.path(), "d9"));
}

// The smallest journal, and operations that change much: nothing runs out in the middle.
TEST(Recovery, ASmallJournalUnderLoad) {
  JournalBed bed("-t ext4 -g 1024 -J size=4", 200 * MiB);
  bed.mount();
  const InodeNumber root = bed->root();
  std::vector<InodeNumber> files;
  for (int i = 0; i < 40; ++i) files.push_back(make_named(*bed, root, fmt::format("f{}", i)));
  // Interleaved, so that each file lies in many pieces and groups.
  for (std::uint64_t page = 0; page < 400; ++page) {
    for (const InodeNumber file : files) {
      const auto handle = bed->begin({.inodes = 1, .extents = 3, .takes_space = true}).value();
      std::vector<filesystem::Extent> added;
      bed->allocate(*handle, file, {PageIndex(page * 2), PageIndex(page * 2 + 1)}, filesystem::Initial::unwritten,
                    added)
          .value();
      handle->done();
    }
  }
  for (std::size_t i = 0; i < files.size(); i += 2) {
    const std::string name = fmt::format("f{}", i);
    {
      const auto handle = bed->begin({.inodes = 3, .names = 1}).value();
      Attributes attributes = bed->read_inode(files[i]).value();
      attributes.links = 0;
      bed->write_inode(*handle, files[i], attributes).value();
      bed->add_orphan(*handle, files[i]).value();
      bed->remove_name(*handle, root, name).value();
      handle->done();
    }
    for (PageIndex end = kEndOfFile; end != PageIndex(0);) {
      const auto handle = bed->begin({.inodes = 3, .extents = 512}).value();
      end = bed->remove(*handle, files[i], {PageIndex(0), end}, 256).value();
      handle->done();
    }
    const auto handle = bed->begin({.inodes = 2}).value();
    bed->remove_orphan(*handle, files[i]).value();
    bed->free_inode(*handle, files[i]).value();
    handle->done();
  }
  bed->commit().value();
  bed.kill();
  EXPECT_TRUE(e2fsck_recovers(bed.copy("e2fsck")));
  static_cast<void>(recover_by_mount(bed.path()));
  EXPECT_TRUE(has_name(bed.path(), "f39"));
}

// Written by the kernel, copied while it is mounted: what was synced is there for us.
TEST(Recovery, TheKernelsLog) {
  for (const char* options : {"-t ext4", "-t ext4 -O ^64bit,^metadata_csum"}) {
    JournalBed bed(options);
    const std::string copy = bed.copy_path("crash");
    {
      const test::LoopMount mounted(bed.path());
      if (!mounted.refusal().empty()) HF_SKIP_CAPABILITY("loop", mounted.refusal());
      const std::string work = "cd '" + mounted.path("") +
                               "' && mkdir a && for i in $(seq 200); do mkdir a/$i; done && sync -f . && "
                               "rmdir a/1?? && echo synced > b && sync -f . && cp --sparse=always '" +
                               bed.path() + "' '" + copy + "'";
      const test::ProgramEnd end = test::run_program(work);
      ASSERT_EQ(end.status, 0) << end.output;
    }
    const filesystem::Recovery recovery = recover_by_mount(copy);
    EXPECT_GT(recovery.transactions, 0u) << options;
    EXPECT_TRUE(has_name(copy, "b")) << options;
  }
}

TEST(Recovery, TheKernelReplaysOurs) {
  JournalBed bed("");
  make_log(bed);
  {
    const test::LoopMount mounted(bed.path());
    if (!mounted.refusal().empty()) HF_SKIP_CAPABILITY("loop", mounted.refusal());
    for (const char* name : {"one", "two", "three"}) EXPECT_EQ(access(mounted.path(name).c_str(), F_OK), 0) << name;
  }
  EXPECT_TRUE(test::e2fsck_clean(bed.path()));
}

// A process that commits and is killed at a random moment: what it said is durable is there, by either way.
TEST(Recovery, AKilledProcess) {
  constexpr int kRounds = 30;
  std::mt19937 random(20261128);
  JournalBed bed("");
  int next = 0;  // the first name that is not known to be durable
  for (int round = 0; round < kRounds; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      const auto device = device::Device::open(bed.path(), device::OpenMode::read_write).value();
      const auto format = mount(*device, {}).value();
      // Names of the time after the last durable one may be there or not.
      for (int i = next;; ++i) {
        const std::string name = fmt::format("n{}", i);
        if (i > 3000) pause();  // before the inodes run out
        if (!format->lookup(format->root(), name).value()) {
          make_named(*format, format->root(), name, i % 3 == 0 ? FileType::directory : FileType::regular,
                     i % 3 == 0 ? 0u : static_cast<std::uint64_t>(i % 5));
        }
        if (i % 7 == 6 && format->lookup(format->root(), fmt::format("n{}", i - 6)).value()) {
          take_away(*format, format->root(), fmt::format("n{}", i - 6));
        }
        if (i % 4 == 0) {
          format->commit().value();
          if (write(ends[1], &i, sizeof(i)) != sizeof(i)) _exit(1);
        }
        if (i % 64 == 0) format->tend().value();
      }
    }
    close(ends[1]);
    usleep(static_cast<useconds_t>(2000 + random() % 30000));
    kill(pid, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    for (int said = 0; read(ends[0], &said, sizeof(said)) == sizeof(said);) next = said + 1;
    close(ends[0]);
    const std::string theirs = bed.copy("e2fsck");
    EXPECT_TRUE(e2fsck_recovers(theirs)) << round;
    static_cast<void>(recover_by_mount(bed.path()));
    for (const std::string& path : {theirs, bed.path()}) {
      const auto device = device::Device::open(path, device::OpenMode::read_only).value();
      const auto format = mount(*device, {.read_only = true}).value();
      for (int i = std::max(0, next - 40); i < next; ++i) {
        const bool there = format->lookup(format->root(), fmt::format("n{}", i)).value().has_value();
        const bool may_be_gone = i % 7 == 0;
        EXPECT_TRUE(there || may_be_gone) << "round " << round << " n" << i;
      }
    }
  }
  EXPECT_GT(next, 0);
}

}  // namespace
}  // namespace holdfast::ext4
