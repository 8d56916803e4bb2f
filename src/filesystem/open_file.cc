// An open file: what its opening reserves and what its end gives back.
#include "base/wait_queue.h"
#include "filesystem/allocation.h"
#include "filesystem/core.h"
#include "filesystem/record.h"

namespace holdfast::filesystem {

OpenFile::OpenFile(std::shared_ptr<Core> core_in, InodeRef inode_in, bool may_read_in, bool may_write_in,
                   Durable durable_in)
    : Owner(core_in.get()),
      core(std::move(core_in)),
      inode(std::move(inode_in)),
      may_read(may_read_in),
      may_write(may_write_in),
      durable(durable_in) {
  inode->open_files.fetch_add(1, std::memory_order_relaxed);
  core->open_files().fetch_add(1, std::memory_order_relaxed);
}

OpenFile::~OpenFile() {
  if (fork_generation() != core->generation()) return;
  // acq_rel: the last one sees what the others wrote.
  if (inode->open_files.fetch_sub(1, std::memory_order_acq_rel) == 1 && inode->type == FileType::regular) {
    const MutexLock lock(inode->lock);
    // Whoever opened it meanwhile loses nothing but blocks ahead. An orphan is about to go whole.
    if (inode->ahead_end != PageIndex(0)) {
      if (Status dropped = drop_ahead(*inode); !dropped) core->note_failure(dropped.error());
    }
    if (inode->attributes.links > 0 && needs_recording(*inode)) {
      if (Status recorded = record_locked(*inode); !recorded) core->note_failure(recorded.error());
    }
  }
  if (core->open_files().fetch_sub(1, std::memory_order_acq_rel) == 1) wake(&core->open_files());
}

}  // namespace holdfast::filesystem
