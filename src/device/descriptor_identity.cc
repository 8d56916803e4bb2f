#include "device/descriptor_identity.h"

#include <sys/stat.h>

#include "base/check.h"

namespace holdfast::device {

DescriptorIdentity::DescriptorIdentity(int fd) : fd_(fd) {
  struct stat file {};
  HF_CHECK(fstat(fd, &file) == 0, "descriptor {} was just opened, and is none", fd);
  device_ = file.st_dev;
  inode_ = file.st_ino;
}

bool DescriptorIdentity::still_names_it() const {
  struct stat file {};
  return fstat(fd_, &file) == 0 && file.st_dev == device_ && file.st_ino == inode_;
}

void DescriptorIdentity::check(const std::string& name) const {
  HF_CHECK(still_names_it(), "the program closed descriptor {}, which belongs to {}: close only what you opened", fd_,
           name);
}

}  // namespace holdfast::device
