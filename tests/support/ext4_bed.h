// A volume with some files that have names, so that e2fsck finds every inode a test changes where it should be.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "support/ext4_volume.h"
#include "support/scratch.h"

namespace holdfast::test {

class Ext4Bed {
 public:
  // `options` are added to those of mke2fs; the volume has `files` empty files /f0, /f1 ..., and beside them the tree
  // below `contents` when one is given.
  Ext4Bed(std::uint64_t bytes, const std::string& options, unsigned files, const std::string& contents = {});

  ext4::VolumeCore& volume() { return mounted_->core(); }
  const std::string& image() const { return mounted_->image().path(); }
  ext4::InodeNumber file(unsigned number) const { return files_[number]; }
  // The inode of a path, asked of debugfs.
  ext4::InodeNumber inode_of(const std::string& path) const;
  void set_size(ext4::InodeNumber inode, std::uint64_t bytes);

  void commit() { mounted_->commit(); }
  void reopen() { mounted_->reopen(); }
  // Afterwards only the image may be used, until open().
  void close() { mounted_->close(); }
  void open() { mounted_->open(); }
  // Commits; whether e2fsck is content. What it says is printed otherwise.
  bool clean();
  std::string debugfs(const std::string& request) const;

 private:
  ScratchDirectory tree_;
  std::optional<MountedVolume> mounted_;
  std::vector<ext4::InodeNumber> files_;
};

}  // namespace holdfast::test
