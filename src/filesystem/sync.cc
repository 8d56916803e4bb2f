#include "filesystem/sync.h"

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/dirty.h"
#include "filesystem/ordered.h"
#include "filesystem/record.h"

namespace holdfast::filesystem {
namespace {

// The blocks that hold data, by what the format knows: the cache may have forgotten a block that was written over in
// place, by this object of the inode, by one before, or by a process that died. Blocks that the format calls unwritten
// and that are not any more are flushed when they are recorded. On persistent memory: what is marked.
Status flush_bytes(Inode& inode, PageRange range) {
  if (inode.core.stores_are_durable()) return flush_stores(inode, range);
  return keeps_bytes(inode.core.device()) ? flush_written(inode, range) : Status();
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

Status sync(Inode& inode, bool data_only, PageRange range) {
  Core& core = inode.core;
  HF_TRY(core.usable());
  if (core.read_only()) return {};
  HF_TRY(flush_bytes(inode, range));
  HF_MARK("sync.flushed");
  {
    const MutexLock lock(inode.lock);
    // fdatasync leaves times that nothing else needs.
    const bool times_only = inode.unrecorded.empty() && !inode.attributes_unrecorded;
    if (!data_only || !times_only) HF_TRY(record_locked(inode));
  }
  return commit_and_fence(core);
}

Status sync_written(const OpenFile& file, std::uint64_t offset, std::uint64_t length) {
  if (file.durable == Durable::when_synced) [[likely]] {
    return {};
  }
  return sync(*file.inode, file.durable == Durable::data_at_once, pages_touched(offset, length));
}

Status write_back(Core& core) {
  if (core.read_only()) return {};
  device::Device& device = core.device();
  // Of files that have no object by now nothing is marked. A process that died has left marks of none.
  const bool marks = core.stores_are_durable() && !core.take_unmarked_note();
  if (keeps_bytes(device) && !marks) {
    if (Status flushed = device.flush(0, device.geometry().size); !flushed) {
      core.note_unmarked();
      return flushed;
    }
  }
  Status status;
  core.inodes().for_each([&status, marks](Inode& inode) {
    Status recorded = marks ? flush_stores(inode, kWholeFile) : Status();
    if (recorded) recorded = record(inode);
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
