// Goal: what we log is what e2fsck, debugfs and our own mount read, in every form that a journal can have, and at every
// step of a commit and of a checkpoint. Method: images copied at the marks of those steps, and at the end of a process
// that is killed, recovered by e2fsck and by us, contents compared.
#include "ext4/journal.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "base/fault_point.h"
#include "ext4/recovery.h"
#include "journal_bed.h"

namespace holdfast::ext4 {
namespace {

using filesystem::Format;
using test::CrashCopy;

bool has_name(const std::string& path, const std::string& name) {
  const auto device = device::Device::open(path, device::OpenMode::read_only).value();
  const auto format = mount(*device, {.read_only = true}).value();
  return format->lookup(format->root(), name).value().has_value();
}

struct Form {
  std::string name;
  std::string make;
  std::uint32_t compatible = 0;
  std::uint32_t incompatible = 0;
  bool set = false;
};

class JournalForm : public testing::TestWithParam<Form> {};

const Form kForms[] = {
    {"Ours", ""},
    {"Mke2fs", "-t ext4"},
    {"NoChecksums", "-t ext4 -O ^metadata_csum"},
    {"NoChecksums32Bit", "-t ext4 -O ^metadata_csum,^64bit"},
    {"V1", "-t ext4 -O ^metadata_csum", kJournalChecksumV1, kJournalRevoke, true},
    {"V2", "-t ext4", 0, kJournalRevoke | kJournalChecksumV2, true},
    {"V2With64Bit", "-t ext4", 0, kJournalRevoke | kJournalChecksumV2 | kJournal64Bit, true},
    {"V3", "-t ext4 -O ^64bit", 0, kJournalRevoke | kJournalChecksumV3, true},
    {"V3With64Bit", "-t ext4", 0, kJournalRevoke | kJournalChecksumV3 | kJournal64Bit, true},
};

// Revokes, more copies than one descriptor has tags, a wrap or two, a kill: found by both, the same.
TEST_P(JournalForm, IsReadByE2fsckAndByUs) {
  JournalBed bed(GetParam().make);
  if (GetParam().set) bed.set_features(GetParam().compatible, GetParam().incompatible);
  bed.mount();
  const InodeNumber root = bed->root();
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 300; ++i) {
      make_named(*bed, root, fmt::format("d{}.{}", round, i), FileType::directory);
    }
    bed->commit().value();
    for (int i = 0; i < 300; i += 2) take_away(*bed, root, fmt::format("d{}.{}", round, i));
    bed->commit().value();
  }
  make_named(*bed, root, "last", FileType::regular, 5);
  bed->commit().value();
  make_named(*bed, root, "unsynced");
  bed.kill();

  const std::string theirs = bed.copy("e2fsck");
  const std::string log = debugfs(theirs, "logdump -a");
  EXPECT_NE(log.find("commit block"), std::string::npos) << log;
  EXPECT_TRUE(e2fsck_recovers(theirs));
  const filesystem::Recovery recovery = recover_by_mount(bed.path());
  EXPECT_GT(recovery.transactions, 0u);
  EXPECT_GT(recovery.blocks, 0u);
  EXPECT_FALSE(recovery.in_memory);
  for (const std::string& path : {theirs, bed.path()}) {
    EXPECT_TRUE(has_name(path, "last")) << path;
    EXPECT_FALSE(has_name(path, "unsynced")) << path;
    EXPECT_TRUE(has_name(path, "d11.299")) << path;
    EXPECT_FALSE(has_name(path, "d11.298")) << path;
  }
  // Nothing is left to be replayed.
  EXPECT_EQ(recover_by_mount(bed.path()).transactions, 0u);
}

INSTANTIATE_TEST_SUITE_P(Forms, JournalForm, testing::ValuesIn(kForms),
                         [](const testing::TestParamInfo<Form>& form) { return form.param.name; });

TEST(Journal, MayLieInAnOldBlockMap) {
  JournalBed bed("-t ext3");
  EXPECT_EQ(test::run_program("tune2fs -O extent '" + bed.path() + "'").status, 0);
  bed.mount();
  for (int i = 0; i < 100; ++i) make_named(*bed, bed->root(), fmt::format("f{}", i), FileType::regular, 1);
  bed->commit().value();
  bed.kill();
  EXPECT_TRUE(e2fsck_recovers(bed.copy("e2fsck")));
  EXPECT_GT(recover_by_mount(bed.path()).blocks, 0u);
  EXPECT_TRUE(has_name(bed.path(), "f99"));
}

// Until the commit block is durable there is no commit, from then on there is one, wherever the copies are.
TEST(Journal, EveryStepLeavesTheOldStateOrTheNewOne) {
  for (const char* mark :
       {"ext4.journal.logged", "ext4.journal.committed", "ext4.journal.home", "ext4.journal.checkpointed"}) {
    const bool committed = std::string(mark) != "ext4.journal.logged";
    JournalBed bed("");
    bed.mount();
    make_named(*bed, bed->root(), "before");
    bed->commit().value();
    make_named(*bed, bed->root(), "after");
    {
      const CrashCopy crash(mark, bed.path(), bed.copy_path("crash"));
      bed->commit().value();
      // Nothing was to be committed in the first interval without changes, and in the second it goes home.
      bed->tend().value();
      bed->tend().value();
      ASSERT_TRUE(crash.taken()) << mark;
    }
    const std::string ours = bed.copy_path("ours");
    test::copy_image(bed.copy_path("crash"), ours);
    EXPECT_TRUE(e2fsck_recovers(bed.copy_path("crash"))) << mark;
    static_cast<void>(recover_by_mount(ours));
    for (const std::string& path : {bed.copy_path("crash"), ours}) {
      EXPECT_TRUE(has_name(path, "before")) << mark;
      EXPECT_EQ(has_name(path, "after"), committed) << mark;
    }
    bed.unmount();
    EXPECT_TRUE(test::e2fsck_clean(bed.path()));
  }
}

// A crash in the middle of a replay, and one behind it, find the same.
TEST(Journal, ReplayIsRepeatable) {
  JournalBed bed("");
  bed.mount();
  for (int i = 0; i < 100; ++i) make_named(*bed, bed->root(), fmt::format("f{}", i), FileType::regular, 1);
  bed->commit().value();
  bed.kill();
  {
    const auto device = device::Device::open(bed.path(), device::OpenMode::read_write).value();
    fault_point::arm("ext4.journal.replay", 4);
    EXPECT_EQ(mount(*device, {}).error().code(), EIO);
    fault_point::disarm_all();
  }
  {
    const CrashCopy crash("ext4.journal.replayed", bed.path(), bed.copy_path("crash"));
    EXPECT_GT(recover_by_mount(bed.path()).transactions, 0u);
    ASSERT_TRUE(crash.taken());
  }
  EXPECT_GT(recover_by_mount(bed.copy_path("crash")).transactions, 0u);
  EXPECT_TRUE(has_name(bed.copy_path("crash"), "f99"));
}

TEST(Journal, AReaderReplaysIntoMemory) {
  JournalBed bed("");
  bed.mount();
  make_named(*bed, bed->root(), "synced");
  bed->commit().value();
  bed.kill();
  const std::string before = bed.copy("before");
  {
    const auto device = device::Device::open(bed.path(), device::OpenMode::read_only).value();
    const auto format = mount(*device, {.read_only = true}).value();
    EXPECT_TRUE(format->recovery().in_memory);
    EXPECT_GT(format->recovery().blocks, 0u);
    EXPECT_TRUE(format->lookup(format->root(), "synced").value().has_value());
    format->close(true).value();
  }
  EXPECT_EQ(test::run_program("cmp '" + before + "' '" + bed.path() + "'").status, 0);
  EXPECT_GT(recover_by_mount(bed.path()).transactions, 0u);
}

// A directory's block that is freed and becomes a file's: a replay must not bring the directory's bytes back.
TEST(Journal, AFreedBlockIsNotReplayedOverItsNextOwner) {
  JournalBed bed("");
  bed.mount();
  const InodeNumber root = bed->root();
  const InodeNumber directory = make_named(*bed, root, "d", FileType::directory);
  std::vector<filesystem::Extent> blocks;
  bed->extents(directory, {PageIndex(0), PageIndex(1)}, blocks).value();
  ASSERT_EQ(blocks.size(), 1u);
  const Pfn freed = blocks[0].pfn;
  bed->commit().value();
  take_away(*bed, root, "d");
  bed->commit().value();
  // Files take everything until one has that block.
  bool reused = false;
  for (int i = 0; i < 2000 && !reused; ++i) {
    const InodeNumber file = make_named(*bed, root, fmt::format("f{}", i), FileType::regular, 4);
    blocks.clear();
    bed->extents(file, {PageIndex(0), PageIndex(4)}, blocks).value();
    for (const filesystem::Extent& extent : blocks) {
      reused = reused || (freed >= extent.pfn && freed < extent.pfn + extent.count);
    }
  }
  ASSERT_TRUE(reused);
  bed->commit().value();
  bed.kill();
  const std::string stored(kPageBytes, 'x');
  const auto store = [&](const std::string& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(freed.bytes()));
    file << stored;
  };
  store(bed.path());
  const std::string theirs = bed.copy("e2fsck");
  EXPECT_TRUE(e2fsck_recovers(theirs));
  EXPECT_GT(recover_by_mount(bed.path()).revoked, 0u);
  for (const std::string& path : {theirs, bed.path()}) {
    std::ifstream file(path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(freed.bytes()));
    std::string found(kPageBytes, '\0');
    file.read(found.data(), static_cast<std::streamsize>(found.size()));
    EXPECT_EQ(found, stored) << path;
  }
}

// The first word of a symbolic link's block is its target's: here the journal's magic.
TEST(Journal, ACopyThatLooksLikeTheJournalIsEscaped) {
  JournalBed bed("-t ext4");
  bed.mount();
  const std::string target = "\xc0\x3b\x39\x98" + std::string(100, 'x');
  {
    const auto handle = bed->begin(kSmall).value();
    Attributes attributes;
    attributes.type = FileType::symlink;
    attributes.permissions = 0777;
    attributes.links = 1;
    attributes.size = target.size();
    const InodeNumber link = bed->create_inode(*handle, bed->root(), attributes).value();
    bed->write_symlink(*handle, link, target).value();
    bed->add_name(*handle, bed->root(), {"link", link, FileType::symlink}).value();
    handle->done();
  }
  bed->commit().value();
  bed.kill();
  const std::string theirs = bed.copy("e2fsck");
  EXPECT_TRUE(e2fsck_recovers(theirs));
  static_cast<void>(recover_by_mount(bed.path()));
  for (const std::string& path : {theirs, bed.path()}) {
    const auto device = device::Device::open(path, device::OpenMode::read_only).value();
    const auto format = mount(*device, {.read_only = true}).value();
    EXPECT_EQ(format->read_symlink(format->lookup(format->root(), "link").value()->inode).value(), target);
  }
}

TEST(Journal, AFailureStopsWritingAndTheNextMountReplays) {
  for (const char* point :
       {"ext4.journal.write", "ext4.journal.commit", "ext4.journal.checkpoint", "ext4.journal.superblock"}) {
    JournalBed bed("");
    bed.mount();
    make_named(*bed, bed->root(), "synced");
    bed->commit().value();
    make_named(*bed, bed->root(), "lost");
    fault_point::arm(point, 1);
    Status status = bed->commit();
    for (int i = 0; i < 2 && status; ++i) status = bed->tend();
    fault_point::disarm_all();
    ASSERT_FALSE(status.has_value()) << point;
    EXPECT_EQ(status.error().code(), EIO);
    EXPECT_EQ(bed->begin(kSmall).error().code(), EROFS) << point;
    bed.kill();
    EXPECT_TRUE(e2fsck_recovers(bed.copy("e2fsck"))) << point;
    EXPECT_GT(recover_by_mount(bed.path()).transactions, 0u) << point;
    EXPECT_TRUE(has_name(bed.path(), "synced")) << point;
  }
}

TEST(Journal, CleanEndsLeaveNothingToRecover) {
  JournalBed bed("-t ext4");
  bed.mount();
  make_named(*bed, bed->root(), "f");
  bed.unmount();
  EXPECT_TRUE(test::e2fsck_clean(bed.path()));
  const test::ProgramEnd end = test::run_program("dumpe2fs -h '" + bed.path() + "'");
  EXPECT_EQ(end.output.find("needs_recovery"), std::string::npos) << end.output;
  EXPECT_NE(end.output.find("Journal start:            0"), std::string::npos) << end.output;
  EXPECT_NE(end.output.find("journal_checksum_v3"), std::string::npos) << end.output;
}

}  // namespace
}  // namespace holdfast::ext4
