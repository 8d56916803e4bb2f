#include "journal_bed.h"

#include <cstring>
#include <utility>
#include <vector>

#include "ext4/recovery.h"

namespace holdfast::ext4 {

using filesystem::Format;

InodeNumber make_named(Format& format, InodeNumber parent, const std::string& name, FileType type,
                       std::uint64_t pages) {
  const auto handle = format.begin(kSmall).value();
  Attributes attributes;
  attributes.type = type;
  attributes.permissions = 0755;
  attributes.links = type == FileType::directory ? 2 : 1;
  attributes.size = pages * kPageBytes;
  attributes.accessed = attributes.modified = attributes.changed = attributes.created = file_time_now();
  const InodeNumber inode = format.create_inode(*handle, parent, attributes).value();
  if (type == FileType::directory) {
    format.make_directory(*handle, inode, parent).value();
    Attributes above = format.read_inode(parent).value();
    ++above.links;
    format.write_inode(*handle, parent, above).value();
  }
  std::vector<filesystem::Extent> added;
  if (pages != 0) {
    format.allocate(*handle, inode, {PageIndex(0), PageIndex(pages)}, filesystem::Initial::unwritten, added).value();
  }
  format.add_name(*handle, parent, {name, inode, type}).value();
  handle->done();
  return inode;
}

void take_away(Format& format, InodeNumber parent, const std::string& name) {
  const auto handle = format.begin({.inodes = 3, .names = 1, .extents = 16}).value();
  const InodeNumber inode = format.lookup(parent, name).value()->inode;
  Attributes attributes = format.read_inode(inode).value();
  format.remove_name(*handle, parent, name).value();
  if (attributes.type == FileType::directory) {
    Attributes above = format.read_inode(parent).value();
    --above.links;
    format.write_inode(*handle, parent, above).value();
  }
  attributes.links = 0;
  format.write_inode(*handle, inode, attributes).value();
  EXPECT_EQ(format.remove(*handle, inode, {PageIndex(0), kEndOfFile}, 16).value(), PageIndex(0));
  format.free_inode(*handle, inode).value();
  handle->done();
}

JournalBed::JournalBed(const std::string& make, std::uint64_t bytes)
    : image_(make.empty() ? test::Ext4Image(bytes) : test::Ext4Image(bytes, make)) {
  if (!make.empty()) return;
  const std::unique_ptr<device::Device> device = image_.open();
  make_filesystem(*device, {.journal = NewJournal::sized, .journal_bytes = 4 * MiB}).value();
}

void JournalBed::set_features(std::uint32_t compatible, std::uint32_t incompatible) const {
  const std::unique_ptr<device::Device> device = image_.open();
  const SuperblockRead read = read_superblock(*device).value();
  const JournalArea area = JournalArea::find(*device, read.super, check_geometry(read.super, *device).value()).value();
  auto* const words = reinterpret_cast<JournalSuperWords*>(device->at(Pfn(area.at(0))));
  words->compatible = compatible;
  words->incompatible = incompatible;
  words->checksum_type = kJournalCrc32c;
  JournalSuper super = JournalSuper::read(*device, area).value();  // which sees that the checksum is another now
  super.write(*device, area).value();
}

void JournalBed::mount() {
  device_ = image_.open();
  format_ = ext4::mount(*device_, {}).value();
}

void JournalBed::unmount() {
  format_->close(true).value();
  kill();
}

void JournalBed::kill() {
  format_.reset();
  device_.reset();
}

std::string JournalBed::copy(const std::string& name) const {
  test::copy_image(path(), copy_path(name));
  return copy_path(name);
}

testing::AssertionResult e2fsck_recovers(const std::string& path) {
  const test::ProgramEnd end = test::run_program("e2fsck -p '" + path + "'");
  if (end.status > 1) return testing::AssertionFailure() << "e2fsck -p: " << end.status << "\n" << end.output;
  const test::ProgramEnd again = test::run_program("e2fsck -fn '" + path + "'");
  if (again.status != 0) return testing::AssertionFailure() << end.output << "e2fsck -fn:\n" << again.output;
  return testing::AssertionSuccess();
}

filesystem::Recovery recover_by_mount(const std::string& path) {
  filesystem::Recovery recovery;
  {
    const auto device = device::Device::open(path, device::OpenMode::read_write).value();
    const auto format = mount(*device, {}).value();
    recovery = format->recovery();
    format->close(true).value();
  }
  EXPECT_TRUE(test::e2fsck_clean(path));
  return recovery;
}

std::string debugfs(const std::string& path, const std::string& request) {
  return test::run_program("debugfs -R '" + request + "' '" + path + "'").output;
}

}  // namespace holdfast::ext4
