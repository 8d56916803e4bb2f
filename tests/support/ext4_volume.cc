#include "support/ext4_volume.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "base/clock.h"
#include "ext4/inode_attributes.h"

namespace holdfast::test {

ProgramEnd run_program(const std::string& command_line) {
  // e2fsprogs live in sbin, which is not on every user's path.
  const std::string whole = "PATH=$PATH:/usr/sbin:/sbin; { " + command_line + "; } 2>&1 </dev/null";
  ProgramEnd end;
  std::FILE* pipe = popen(whole.c_str(), "r");
  if (pipe == nullptr) return end;
  std::array<char, 4096> buffer{};
  for (std::size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    end.output.append(buffer.data(), got);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) end.status = WEXITSTATUS(status);
  return end;
}

bool e2fsck_clean(const std::string& path) {
  const ProgramEnd end = run_program("e2fsck -fn '" + path + "'");
  if (end.status != 0) std::cerr << "e2fsck -fn ended with " << end.status << ":\n" << end.output;
  return end.status == 0;
}

std::int64_t dumpe2fs_number(const std::string& path, const std::string& field) {
  const ProgramEnd end = run_program("dumpe2fs -h '" + path + "'");
  const std::size_t at = end.output.find("\n" + field + ":");
  if (at == std::string::npos) return -1;
  return std::atoll(end.output.c_str() + at + field.size() + 2);
}

Ext4Image::Ext4Image(std::uint64_t bytes)
    : directory_(tmpfs_parent().empty() ? "/tmp" : tmpfs_parent()), path_(directory_.file("image")) {
  std::ofstream(path_).put('\0');
  EXPECT_EQ(truncate(path_.c_str(), static_cast<off_t>(bytes)), 0);
}

Ext4Image::Ext4Image(std::uint64_t bytes, const std::string& options) : Ext4Image(bytes) {
  const ProgramEnd made = run_program("mke2fs -q -F -b 4096 " + options + " '" + path_ + "'");
  EXPECT_EQ(made.status, 0) << made.output;
}

std::unique_ptr<device::Device> Ext4Image::open(device::OpenMode mode) const {
  return device::Device::open(path_, mode).value();
}

MountedVolume::MountedVolume(std::uint64_t bytes, const std::string& options) : image_(bytes, options) { open(); }

MountedVolume::~MountedVolume() = default;

void MountedVolume::open() {
  device_ = image_.open();
  volume_ = ext4::VolumeCore::open(*device_, false).value();
}

ext4::InodeNumber MountedVolume::create(ext4::FileType type, std::uint16_t links) {
  ext4::Attributes attributes;
  attributes.type = type;
  attributes.permissions = type == ext4::FileType::directory ? 0755 : 0644;
  attributes.links = links;
  attributes.accessed = attributes.modified = attributes.changed = attributes.created = file_time_now();
  const auto made = volume_->inode_allocator().allocate(EXT2_ROOT_INO, type == ext4::FileType::directory).value();
  ext4::make_inode(volume_->superblock(), *made.raw, attributes, 0x5eed0000u + made.number);
  volume_->inode_changed(ext4::InodeNumber{made.number});
  return ext4::InodeNumber{made.number};
}

void MountedVolume::commit() {
  const Status committed = volume_->commit();
  EXPECT_TRUE(committed.has_value()) << committed.error().message();
}

void MountedVolume::reopen() {
  close();
  open();
}

void MountedVolume::close() {
  commit();
  if (volume_->orphans().empty()) {
    const Status ended = volume_->close_log();
    EXPECT_TRUE(ended.has_value()) << ended.error().message();
  }
  volume_.reset();
  device_.reset();
}

}  // namespace holdfast::test
