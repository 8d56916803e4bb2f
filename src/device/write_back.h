// Durability of a device on a disk file: stores are in the page cache until the kernel is told to write them.
//
// flush only remembers the range; fence writes all remembered ranges at once and waits for them, the metadata that
// finds them, and the disk's own cache. So a hundred scattered blocks cost one journal commit and one disk flush
// (180-300 us), not a hundred. It writes nothing but those ranges: pages that others dirty meanwhile are not waited
// for. That the sync of one range makes durable what finds all the others is known of ext4 and xfs, which commit the
// metadata of a whole file. Elsewhere (on btrfs, whose log gets the extents of the range alone) several ranges take an
// fdatasync of the file.
//
// W1: every range that was flushed is in pending_, or in the write of the one thread that has writing_ set.
// W2: a fence returns when its thread's ranges are in neither: it takes what is pending, or waits for the writer.
// W3: a failed write is remembered for good. The kernel drops what it could not write and reports it once; a second
//     attempt that succeeds would be a lie, and another thread's fence may have waited for the same ranges.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "device/descriptor_identity.h"
#include "device/durability.h"

namespace holdfast::device {

class WriteBack final : public Durability {
 public:
  // The file behind `window`; both outlive this object.
  WriteBack(int fd, std::byte* window, std::string name);

  // Remembers the pages of the range. Never blocks on the disk.
  void flush(std::uint64_t offset, std::uint64_t length) override;
  // Returns when every range flushed by this thread before is durable. Blocks on the disk. EIO: W3.
  Status fence() override;

 private:
  struct Range {
    std::uint64_t begin;  // both are multiples of the page size
    std::uint64_t end;
  };

  static void merge(std::vector<Range>& ranges);
  int write(const std::vector<Range>& ranges) const;
  Error lost() const HF_REQUIRES(mutex_);

  const int fd_;
  const DescriptorIdentity identity_;  // of fd_
  std::byte* const window_;
  const std::string name_;
  const bool one_range_syncs_all_;
  Mutex mutex_{LockRank::leaf};  // not held while writing
  std::condition_variable_any write_ended_;
  std::vector<Range> pending_ HF_GUARDED_BY(mutex_);
  bool writing_ HF_GUARDED_BY(mutex_) = false;
  int failure_ HF_GUARDED_BY(mutex_) = 0;  // W3: an errno value
};

}  // namespace holdfast::device
