// Goal: superblocks, the volume's and the journal's, that were cut short between two of their lines lose nothing: our
// mount and e2fsck -fy both bring the volume back. Method: images of before and after a write, and every mixture of the
// lines in which they differ.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ext4/recovery.h"
#include "journal_bed.h"

namespace holdfast::ext4 {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kBytes = 1024;  // of either superblock

std::unique_ptr<device::Device> open(const std::string& path) {
  return device::Device::open(path, device::OpenMode::read_write).value();
}

std::uint64_t place_of_journal(device::Device& device) {
  const ext2_super_block super = read_superblock(device).value().super;
  const JournalArea area = JournalArea::find(device, super, check_geometry(super, device).value()).value();
  return Pfn(area.at(0)).bytes();
}

// Tries every mixture of `before` and `after`, at `place`, in copies of `base`. Returns how many there were.
unsigned expect_recovered(const std::string& base, const std::string& before, const std::string& after,
                          std::uint64_t place, const std::string& name) {
  std::vector<std::size_t> changed;
  std::vector<std::byte> lines(kBytes);
  {
    const auto old_device = open(before);
    const auto new_device = open(after);
    std::memcpy(lines.data(), new_device->at(place), kBytes);
    for (std::size_t at = 0; at < kBytes; at += kLine) {
      if (std::memcmp(old_device->at(place) + at, lines.data() + at, kLine) != 0) changed.push_back(at);
    }
  }
  EXPECT_GT(changed.size(), 0u);
  for (unsigned mask = 0; mask < 1u << changed.size(); ++mask) {
    const std::string torn = base + ".torn";
    test::copy_image(base, torn);
    {
      const auto device = open(torn);
      const auto old_device = open(before);
      std::memcpy(device->at(place), old_device->at(place), kBytes);
      for (std::size_t i = 0; i < changed.size(); ++i) {
        if ((mask >> i & 1) != 0) std::memcpy(device->at(place) + changed[i], lines.data() + changed[i], kLine);
      }
    }
    const std::string theirs = base + ".theirs";
    test::copy_image(torn, theirs);
    EXPECT_LE(test::run_program("e2fsck -fy '" + theirs + "'").status, 1) << mask;
    EXPECT_TRUE(test::e2fsck_clean(theirs)) << mask;
    static_cast<void>(recover_by_mount(torn));
    for (const std::string& path : {torn, theirs}) {
      const auto device = open(path);
      const auto format = mount(*device, {.read_only = true}).value();
      EXPECT_EQ(format->lookup(format->root(), name).value().has_value(), !name.empty()) << path << " " << mask;
    }
  }
  return 1u << changed.size();
}

// The image as a process leaves it that is killed at the mark, while it mounts.
std::string mounted_until(const std::string& image, const std::string& mark) {
  const std::string work = image + ".work";
  const std::string copy = image + mark;
  test::copy_image(image, work);
  const test::CrashCopy crash(mark, work, copy);
  const auto device = open(work);
  const auto format = mount(*device, {}).value();
  EXPECT_TRUE(crash.taken()) << mark;
  return copy;
}

TEST(Torn, AnAdoptionIsTheOldOneOrTheNew) {
  JournalBed bed("-t ext4");
  const std::string before = bed.copy("before");
  const std::string amid = mounted_until(before, "ext4.journal.adopting");
  const std::string after = mounted_until(before, "ext4.journal.adopted");
  const std::uint64_t place = place_of_journal(*open(before));
  EXPECT_GE(expect_recovered(before, before, amid, place, "lost+found"), 2u);
  EXPECT_GE(expect_recovered(before, amid, after, place, "lost+found"), 2u);
}

// Others write all lines at once.
TEST(Torn, AnAdoptionByOthersIsTheOldOneOrTheNew) {
  JournalBed bed("-t ext4");
  const std::string before = bed.copy("before");
  const std::string after = mounted_until(before, "ext4.journal.adopted");
  const std::uint64_t place = place_of_journal(*open(before));
  EXPECT_GE(expect_recovered(before, before, after, place, "lost+found"), 4u);
}

// Without a checksum nobody knows that it is torn, and nobody has to: each of its lines is true by itself.
TEST(Torn, ASuperblockWithoutAChecksum) {
  for (const char* make : {"-t ext4 -O ^metadata_csum", "-t ext4 -O ^metadata_csum,^64bit"}) {
    SCOPED_TRACE(make);
    JournalBed bed(make);
    bed.mount();
    make_named(*bed, bed->root(), "file", FileType::regular, 2);
    bed.unmount();
    // When the log begins.
    const std::string base = mounted_until(bed.path(), "ext4.journal.committed");
    const std::string begun = mounted_until(bed.path(), "ext4.journal.home");
    expect_recovered(base, base, begun, kSuperblockOffset, "file");
    // When it ends.
    bed.mount();
    make_named(*bed, bed->root(), "more", FileType::regular, 2);
    const std::string ending = bed.copy_path("ending");
    {
      const test::CrashCopy crash("ext4.journal.checkpointed", bed.path(), ending);
      bed.unmount();
      ASSERT_TRUE(crash.taken());
    }
    expect_recovered(bed.path(), ending, bed.copy("ended"), kSuperblockOffset, "more");
  }
}

// Before the log that has the copy can be written over.
TEST(Torn, ARestoredSuperblockIsWrittenHome) {
  JournalBed bed("");
  bed.mount();
  make_named(*bed, bed->root(), "file");
  bed->commit().value();
  bed.kill();
  const auto device = open(bed.path());
  reinterpret_cast<ext2_super_block*>(device->at(kSuperblockOffset))->s_wtime ^= 0x55;
  EXPECT_TRUE(read_superblock(*device).value().torn);
  EXPECT_TRUE(recover(*device, true).value().report.superblock_restored);
  EXPECT_TRUE(read_superblock(*device).value().torn) << "a mount for reading changes nothing";
  EXPECT_TRUE(recover(*device, false).value().report.superblock_restored);
  EXPECT_FALSE(read_superblock(*device).value().torn);
}

}  // namespace
}  // namespace holdfast::ext4
