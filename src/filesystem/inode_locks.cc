#include "filesystem/inode_locks.h"

#include <algorithm>

#include "base/check.h"

namespace holdfast::filesystem {

InodeLocks::InodeLocks(std::initializer_list<Inode*> inodes) {
  for (Inode* inode : inodes) {
    const auto end = locked_.begin() + static_cast<std::ptrdiff_t>(count_);
    if (inode == nullptr || std::find(locked_.begin(), end, inode) != end) continue;
    HF_CHECK(count_ < locked_.size(), "more than {} inodes in one operation", locked_.size());
    if (count_ == 0) {
      inode->lock.lock();
    } else {
      inode->lock.lock_second_of_rank();
    }
    locked_.at(count_++) = inode;
  }
}

InodeLocks::~InodeLocks() {
  while (count_ > 0) locked_.at(--count_)->lock.unlock();
}

}  // namespace holdfast::filesystem
