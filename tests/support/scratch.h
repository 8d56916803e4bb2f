// Directories for the files of one test, removed with everything in them.
#pragma once

#include <string>

namespace holdfast::test {

class ScratchDirectory {
 public:
  // Below $TMPDIR, else /tmp; or below `parent`.
  ScratchDirectory();
  explicit ScratchDirectory(const std::string& parent);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A directory on tmpfs (/dev/shm), and one on a disk file system ($TMPDIR, /tmp or /var/tmp); empty when there is none.
std::string tmpfs_parent();
std::string disk_parent();

}  // namespace holdfast::test
