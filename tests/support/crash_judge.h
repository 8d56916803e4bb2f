// Recovers one image of a power failure, twice: by a mount of ours, and by e2fsck.
#pragma once

#include <cstdint>
#include <string>

#include "sim/cut.h"
#include "support/crash_model.h"
#include "support/scratch.h"

namespace holdfast::test {

// Blocks of a group, in pools that have several.
inline constexpr unsigned kCrashGroupBlocks = 1024;

class CrashJudge {
 public:
  CrashJudge();

  // Empty, or what is wrong. A mount replays and frees what it has to; names and bytes are what the model allows; a new
  // file can be written, the pool is closed, and neither `e2fsck -fn` nor our verification find anything. And of
  // another copy `e2fsck -fy` makes an image in which both find nothing, and (with `read_repaired`) a mount finds what
  // the model allows. With `read_repaired` also: whether there is something to recover, both say alike. But: a pool of
  // one block group has no superblock besides the one in place. When that one was cut short, e2fsck has nothing to
  // begin with, and only we do.
  std::string judge(const sim::Bytes& image, const CrashModel& model, bool read_repaired);

  std::uint64_t without_superblock() const { return without_superblock_; }

  // To a file that stays.
  static void keep(const sim::Bytes& image, const std::string& path);

 private:
  ScratchDirectory scratch_;
  std::uint64_t without_superblock_ = 0;  // images that e2fsck could not begin with
};

// Empty, or what in the pool at `path` the model does not allow. The pool is mounted, and closed again; with `use` a
// file is written to it.
std::string check_pool(const std::string& path, const CrashModel& model, bool use);

}  // namespace holdfast::test
