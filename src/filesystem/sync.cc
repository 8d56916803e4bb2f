#include "filesystem/sync.h"

#include <vector>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/ordered.h"
#include "filesystem/record.h"

namespace holdfast::filesystem {
namespace {

// The blocks that hold data, by what the format knows: the cache may have forgotten a block that was written over in
// place, by this object of the inode, by one before, or by a process that died. Blocks that the format calls unwritten
// and that are not any more are flushed when they are recorded.
Status flush_bytes(Inode& inode) {
  device::Device& device = inode.core.device();
  if (!keeps_bytes(device)) return {};
  std::vector<Extent> extents;
  const PageRange inside{PageIndex(0), page_after(inode.size.load(std::memory_order_acquire))};
  HF_TRY(inode.core.format().extents(inode.number, inside, extents));
  for (const Extent& extent : extents) {
    if (!extent.unwritten) HF_TRY(device.flush(extent.pfn.bytes(), extent.count.bytes()));
  }
  return {};
}

// The commit waits for what was flushed, together with its own blocks; where it had nothing to do this does. A device
// that lost something will not take what comes later either. Test: FailingDevice.EveryWaitOnDisk.
Status commit_and_fence(Core& core) {
  HF_TRY(core.format().commit());
  if (!keeps_bytes(core.device())) return {};
  Status fenced = core.device().fence();
  if (!fenced) core.format().stop(fenced.error());
  return fenced;
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
