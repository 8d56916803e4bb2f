// ext4 images for tests: made by mke2fs, opened as devices and volumes, judged by e2fsck.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "device/device.h"
#include "ext4/volume_core.h"
#include "support/scratch.h"

namespace holdfast::test {

// What a program printed and how it ended. status -1: it did not exit by itself.
struct ProgramEnd {
  int status = -1;
  std::string output;  // both streams
};
ProgramEnd run_program(const std::string& command_line);

// `e2fsck -fn` finds nothing; what it found is printed otherwise.
bool e2fsck_clean(const std::string& path);

// "Free blocks" of the superblock as dumpe2fs prints it, and the like: the number after `field`. -1: not there.
std::int64_t dumpe2fs_number(const std::string& path, const std::string& field);

// An image in a file in memory, which goes with the object.
class Ext4Image {
 public:
  // An empty file of `bytes`.
  explicit Ext4Image(std::uint64_t bytes);
  // The same, made a file system by `mke2fs -b 4096 <options>`. A failure of mke2fs is a failure of the test.
  Ext4Image(std::uint64_t bytes, const std::string& options);

  const std::string& path() const { return path_; }
  std::unique_ptr<device::Device> open(device::OpenMode mode = device::OpenMode::read_write) const;

 private:
  ScratchDirectory directory_;
  std::string path_;
};

// A volume on such an image, for tests of the parts of the format. Changes need no handle here.
class MountedVolume {
 public:
  explicit MountedVolume(std::uint64_t bytes = 64 << 20, const std::string& options = "-O ^has_journal");
  ~MountedVolume();

  ext4::Volume& operator*() { return *volume_; }
  ext4::Volume* operator->() { return volume_.get(); }
  ext4::VolumeCore& core() { return *volume_; }
  const Ext4Image& image() const { return image_; }

  // A new inode with one link (two for a directory), without blocks, near the root. Kept reachable for e2fsck is the
  // caller's part: an inode without a name is an error to e2fsck.
  ext4::InodeNumber create(ext4::FileType type, std::uint16_t links = 1);
  // Writes out; a failure is a failure of the test.
  void commit();
  // Writes out and opens again, with cold caches.
  void reopen();
  // Writes out and lets go; afterwards only image() may be used, until open().
  void close();
  void open();

 private:
  Ext4Image image_;
  std::unique_ptr<device::Device> device_;
  std::unique_ptr<ext4::VolumeCore> volume_;
};

}  // namespace holdfast::test
