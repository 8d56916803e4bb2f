// A program may close descriptors that are not its own: close_range(2), closefrom(3), a daemon's loop. A number of ours
// then names nothing, or whatever file the program opened next; and what is mapped from that file, allocated or punched
// in it, would be another's.
//
// So the number is asked which file it names: before a call that changes or maps the file, and again after one that
// mapped it, as the program may do so between the two (once lost, the number never names the pool's file again). It
// costs an fstat(2), 0.15 us. A number that is lost ends the process, with a message that says so: fail-stop is better
// than stores that go astray.
#pragma once

#include <sys/types.h>

#include <string>

namespace holdfast::device {

class DescriptorIdentity {
 public:
  DescriptorIdentity() = default;
  // What the number names now.
  explicit DescriptorIdentity(int fd);

  bool still_names_it() const;
  // Ends the process where it does not.
  void check(const std::string& name) const;

 private:
  int fd_ = -1;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace holdfast::device
