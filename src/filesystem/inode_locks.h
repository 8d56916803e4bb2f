// The locks of up to four inodes, taken in one safe order: parents before children, and an ancestor before what lies
// below it.
//
// Why no two threads can wait for each other: a thread takes locks only downwards in the tree. Two parents that are
// not above one another are taken by number; whether one is above the other can change only under the rename lock,
// which every operation with two parents holds.
#pragma once

#include <array>
#include <initializer_list>

#include "filesystem/inode.h"

namespace holdfast::filesystem {

class InodeLocks {
 public:
  // In the order given; an inode that is named twice, and nullptr, is skipped.
  InodeLocks(std::initializer_list<Inode*> inodes) HF_NO_THREAD_SAFETY_ANALYSIS;
  ~InodeLocks() HF_NO_THREAD_SAFETY_ANALYSIS;
  InodeLocks(const InodeLocks&) = delete;
  InodeLocks& operator=(const InodeLocks&) = delete;

 private:
  std::array<Inode*, 4> locked_{};
  std::size_t count_ = 0;
};

}  // namespace holdfast::filesystem
