// A tree of the host with one of everything that can be copied.
#pragma once

#include <string>

namespace holdfast::test {

struct SampleTree {
  bool user_attributes = false;  // whether the file system keeps user.* attributes
  bool access_lists = false;     // POSIX access control lists
  bool devices = false;          // whether device nodes could be made
  unsigned files = 0;            // regular files, each once
  unsigned directories = 0;      // with the top one
};

// Makes the tree in the directory `top`, which is made: files of many sizes, a sparse file, hard and symbolic links, a
// fifo, a socket, device nodes as root, set-id and sticky bits, unreadable and read-only directories, old and future
// times with nanoseconds, attributes and access control lists where the file system has them, names of all kinds of
// bytes.
SampleTree make_sample_tree(const std::string& top);

// Makes what is in the tree removable again by who is not root.
void open_up(const std::string& top);

}  // namespace holdfast::test
