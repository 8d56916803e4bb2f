// A directory on an image, with what tests of directories do to it and how it is judged at the end.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ext4/directory.h"
#include "ext4/volume_core.h"
#include "support/ext4_volume.h"

namespace holdfast::ext4 {

class DirectoryImage {
 public:
  struct Options {
    std::vector<std::string> mke2fs = {};  // options besides those that every image has
    std::string hash = "half_md4";         // of new indexes
    std::uint64_t bytes = 64 << 20;
    std::size_t names_max = 20000;
  };
  using Names = std::map<std::string, InodeNumber>;
  using Links = std::map<InodeNumber, std::uint32_t>;

  explicit DirectoryImage(const Options& options);
  DirectoryImage() : DirectoryImage(Options{}) {}

  Volume& volume() { return *volume_; }
  const std::string& path() const { return image_.path(); }
  // /d, the directory under test.
  InodeNumber directory() const { return directory_; }
  // A file for a name to point to. There are a few, each of which has another name in the root.
  InodeNumber target() { return targets_[uses_++ % targets_.size()]; }

  Status add(const std::string& name, InodeNumber inode) {
    return add_name(volume(), directory_, {name, inode, FileType::regular});
  }
  Status replace(const std::string& name, InodeNumber inode) {
    return replace_name(volume(), directory_, {name, inode, FileType::regular});
  }
  Status remove(const std::string& name) { return remove_name(volume(), directory_, name); }
  // A failure is a failure of the test.
  std::optional<InodeNumber> find(const std::string& name);
  bool empty() { return directory_empty(volume(), directory_).value(); }
  // Everything, in pieces of `piece` names. A name seen twice is a failure of the test.
  Names list(std::size_t piece = 7);
  std::uint32_t blocks();
  bool indexed();

  // Writes out and opens again with cold caches.
  void reopen();
  // Gives every file as many links as the model has names of it in the directory, lets go, and asks e2fsck.
  testing::AssertionResult close_and_check(const Names& model);
  testing::AssertionResult close_and_check(const Links& names_of);

 private:
  void open();
  void close();
  InodeNumber create_named(const std::string& name, FileType type);
  ext2_inode_large& body(InodeNumber inode) { return volume_->inode(inode).value()->body; }

  test::Ext4Image image_;
  std::unique_ptr<device::Device> device_;
  std::unique_ptr<VolumeCore> volume_;
  InodeNumber directory_{};
  std::vector<InodeNumber> targets_;
  std::size_t uses_ = 0;
};

}  // namespace holdfast::ext4
