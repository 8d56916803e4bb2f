#include "filesystem/sync.h"

#include <vector>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/ordered.h"
#include "filesystem/record.h"

namespace holdfast::filesystem {
namespace {

// The blocks that hold data, as of now. The cache knows all that was written; the rest was durable when it was read.
Status flush_bytes(Inode& inode) {
  device::Device& device = inode.core.device();
  if (!keeps_bytes(device)) return {};
  for (const Extent& extent :
       inode.extents.list({PageIndex(0), page_after(inode.size.load(std::memory_order_acquire))})) {
    if (!extent.unwritten) HF_TRY(device.flush(extent.pfn.bytes(), extent.count.bytes()));
  }
  return {};
}

// The commit waits for what was flushed, together with its own blocks; where it had nothing to do this does.
Status commit_and_fence(Core& core) {
  HF_TRY(core.format().commit());
  return keeps_bytes(core.device()) ? core.device().fence() : Status();
}

}  // namespace

Status sync(Inode& inode, bool data_only) {
  Core& core = inode.core;
  HF_TRY(core.usable());
  if (core.read_only()) return {};
  HF_TRY(flush_bytes(inode));
  HF_MARK("sync.flushed");
  {
    const MutexLock lock(inode.lock);
    // fdatasync leaves times that nothing else needs.
    const bool times_only = inode.unrecorded.empty() && !inode.attributes_unrecorded;
    if (!data_only || !times_only) HF_TRY(record_locked(inode));
  }
  return commit_and_fence(core);
}

Status write_back(Core& core) {
  if (core.read_only()) return {};
  device::Device& device = core.device();
  if (keeps_bytes(device)) {
    HF_TRY(device.flush(0, device.geometry().size));
  }
  Status status;
  core.inodes().for_each([&status](Inode& inode) {
    Status recorded = record(inode);
    if (!recorded && status) status = std::move(recorded);
  });
  HF_TRY(std::move(status));
  return commit_and_fence(core);
}

Status Core::sync() {
  HF_TRY(usable());
  return write_back(*this);
}

}  // namespace holdfast::filesystem
