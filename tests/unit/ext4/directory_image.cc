#include "unit/ext4/directory_image.h"

#include "base/clock.h"
#include "ext4/inode_attributes.h"

namespace holdfast::ext4 {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string line = "-t ext4 -O ^has_journal";
  for (const std::string& word : words) line += " " + word;
  return line;
}

constexpr std::size_t kLinksMax = 60000;

}  // namespace

DirectoryImage::DirectoryImage(const Options& options) : image_(options.bytes, joined(options.mke2fs)) {
  const test::ProgramEnd tuned = test::run_program("tune2fs -E hash_alg=" + options.hash + " '" + path() + "'");
  EXPECT_EQ(tuned.status, 0) << tuned.output;
  open();
  directory_ = create_named("d", FileType::directory);
  EXPECT_TRUE(make_directory(volume(), directory_, InodeNumber{EXT2_ROOT_INO}));
  ++body(InodeNumber{EXT2_ROOT_INO}).i_links_count;
  volume_->inode_changed(InodeNumber{EXT2_ROOT_INO});
  for (std::size_t i = 0; i < 4 + options.names_max / kLinksMax; ++i) {
    targets_.push_back(create_named("target-" + std::to_string(i), FileType::regular));
  }
}

InodeNumber DirectoryImage::create_named(const std::string& name, FileType type) {
  Attributes attributes;
  attributes.type = type;
  attributes.permissions = 0755;
  attributes.links = type == FileType::directory ? 2 : 1;
  attributes.accessed = attributes.modified = attributes.changed = attributes.created = file_time_now();
  const auto made = volume_->inode_allocator().allocate(EXT2_ROOT_INO, type == FileType::directory).value();
  make_inode(volume_->superblock(), *made.raw, attributes, 0x5eed0000u + made.number);
  const InodeNumber inode{made.number};
  volume_->inode_changed(inode);
  const Status named = add_name(volume(), InodeNumber{EXT2_ROOT_INO}, {name, inode, type});
  EXPECT_TRUE(named) << named.error().message();
  return inode;
}

std::optional<InodeNumber> DirectoryImage::find(const std::string& name) {
  const auto found = lookup(volume(), directory_, name);
  EXPECT_TRUE(found) << found.error().message();
  if (!found || !found->has_value()) return std::nullopt;
  EXPECT_EQ((*found)->name, name);
  return (*found)->inode;
}

DirectoryImage::Names DirectoryImage::list(std::size_t piece) {
  Names names;
  std::uint64_t cursor = 0;
  while (cursor != filesystem::kDirectoryEnd) {
    std::size_t seen = 0;
    const auto next = read_directory(volume(), directory_, cursor, [&](const Name& name, std::uint64_t) {
      EXPECT_TRUE(names.emplace(name.name, name.inode).second) << name.name << " is listed twice";
      return ++seen < piece;
    });
    EXPECT_TRUE(next) << next.error().message();
    if (!next) return names;
    EXPECT_GT(*next, cursor);
    cursor = *next;
  }
  return names;
}

std::uint32_t DirectoryImage::blocks() { return body(directory_).i_size / 4096; }
bool DirectoryImage::indexed() { return (body(directory_).i_flags & EXT2_INDEX_FL) != 0; }

void DirectoryImage::open() {
  device_ = image_.open();
  volume_ = VolumeCore::open(*device_, false).value();
}

void DirectoryImage::close() {
  const Status committed = volume_->commit();
  EXPECT_TRUE(committed) << committed.error().message();
  volume_.reset();
  device_.reset();
}

void DirectoryImage::reopen() {
  close();
  open();
}

testing::AssertionResult DirectoryImage::close_and_check(const Names& model) {
  Links names_of;
  for (const auto& [name, inode] : model) ++names_of[inode];
  return close_and_check(names_of);
}

testing::AssertionResult DirectoryImage::close_and_check(const Links& names_of) {
  for (const InodeNumber target : targets_) {
    const auto found = names_of.find(target);
    const std::uint32_t links = 1 + (found == names_of.end() ? 0 : found->second);
    body(target).i_links_count = static_cast<std::uint16_t>(links);
    volume_->inode_changed(target);
  }
  close();
  const test::ProgramEnd end = test::run_program("e2fsck -fn '" + path() + "'");
  if (end.status == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "e2fsck -fn ended with " << end.status << ":\n" << end.output;
}

}  // namespace holdfast::ext4
