// Images with a journal for its tests: operations on a mounted format, and what a crash leaves of them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "ext4/ext4.h"
#include "ext4/journal_super.h"
#include "support/crash_copy.h"
#include "support/ext4_volume.h"

namespace holdfast::ext4 {

inline constexpr filesystem::Reservation kSmall{
    .inodes = 3, .names = 1, .extents = 2, .attribute_blocks = 0, .takes_space = true};

filesystem::InodeNumber make_named(filesystem::Format& format, filesystem::InodeNumber parent, const std::string& name,
                                   filesystem::FileType type = filesystem::FileType::regular, std::uint64_t pages = 0);
// Takes an empty directory, or a file, away with its blocks.
void take_away(filesystem::Format& format, filesystem::InodeNumber parent, const std::string& name);

class JournalBed {
 public:
  // `make`: options of mke2fs. Empty: made by us, with a journal of 4 MiB.
  explicit JournalBed(const std::string& make, std::uint64_t bytes = 64 * MiB);

  // A journal superblock with these features instead of its own.
  void set_features(std::uint32_t compatible, std::uint32_t incompatible) const;

  void mount();
  filesystem::Format& operator*() { return *format_; }
  filesystem::Format* operator->() { return format_.get(); }
  // Ends cleanly.
  void unmount();
  // Ends as a process does that is killed: nothing more is written.
  void kill();

  const std::string& path() const { return image_.path(); }
  std::string copy_path(const std::string& name) const { return path() + "." + name; }
  // A copy of the image as it is now.
  std::string copy(const std::string& name) const;

 private:
  test::Ext4Image image_;
  std::unique_ptr<device::Device> device_;
  std::unique_ptr<filesystem::Format> format_;
};

// e2fsck -p replays what the image's journal holds, or repairs nothing else than that; e2fsck -fn finds nothing then.
::testing::AssertionResult e2fsck_recovers(const std::string& path);
// Our own mount does, and e2fsck -fn finds nothing after its clean end. Returns what was replayed.
filesystem::Recovery recover_by_mount(const std::string& path);
// What debugfs says to a request. Empty: nothing but its banner.
std::string debugfs(const std::string& path, const std::string& request);

}  // namespace holdfast::ext4
