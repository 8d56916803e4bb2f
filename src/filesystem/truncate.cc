#include "filesystem/truncate.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "base/mark.h"
#include "filesystem/allocation.h"
#include "filesystem/core.h"
#include "filesystem/growth.h"
#include "filesystem/removal.h"
#include "filesystem/times.h"

namespace holdfast::filesystem {
namespace {

Status grow(Inode& inode, std::uint64_t size) HF_REQUIRES(inode.lock) {
  if (Status possible = inode.core.format().check_resizable(inode.number); !possible) {
    return std::move(possible).error().about(inode.path_hint());
  }
  // As the kernel does: a file set to the size that it has loses what was allocated past it.
  if (inode.attributes.size == size) HF_TRY(drop_past_the_end(inode));
  HF_TRY(reveal(inode, size));
  note_change(inode);
  inode.attributes_unrecorded = true;
  return grow_to(inode, size);
}

}  // namespace

Status check_truncate(const Inode& inode, std::uint64_t size) {
  HF_TRY(inode.core.writable());
  if (inode.type == FileType::directory) return Error(EISDIR, inode.path_hint(), "");
  if (inode.type != FileType::regular) return Error(EINVAL, inode.path_hint(), "not a regular file");
  if (size > kFileBytesMax) {
    return Error(EFBIG, inode.path_hint(), fmt::format("a file has at most {} bytes", kFileBytesMax));
  }
  return {};
}

PageRange range_to_truncate(const Inode& inode, std::uint64_t size, OnPinned on_pinned) {
  return range_to_break(inode, {size, Cut::kToTheEnd}, on_pinned);
}

Result<bool> try_grow(Inode& inode, std::uint64_t size) {
  const MutexLock lock(inode.lock);
  if (inode.attributes.size > size) return false;
  HF_TRY(grow(inode, size));
  return true;
}

Result<bool> commit_truncate(Inode& inode, layout::Break& broken, std::uint64_t size, OnPinned on_pinned) {
  HF_MARK("truncate.stage_2");
  const MutexLock lock(inode.lock);
  if (inode.attributes.size <= size) {
    // Somebody else cut it shorter while this one waited: now it grows, and takes nothing away.
    HF_TRY(grow(inode, size));
    return true;
  }
  std::optional<layout::Commit> commit = broken.commit();
  if (!commit) return false;
  HF_TRY(take_out(inode, *commit, {size, Cut::kToTheEnd}, on_pinned, size));
  return true;
}

Status truncate(Inode& inode, std::uint64_t size, OnPinned on_pinned, Deadline deadline) {
  HF_TRY(check_truncate(inode, size));
  // acquire: partner is whoever changed the size; only a hint, looked at again under the lock.
  if (inode.size.load(std::memory_order_acquire) <= size) {
    HF_ASSIGN(const bool grown, try_grow(inode, size));
    if (grown) return {};
  }
  Result<layout::Break> broken =
      layout::Break::wait(inode.mapping, range_to_truncate(inode, size, on_pinned), {on_pinned, deadline});
  if (!broken) return std::move(broken).error().about(inode.path_hint());
  for (;;) {
    HF_ASSIGN(const bool done, commit_truncate(inode, *broken, size, on_pinned));
    if (done) return {};
    if (Status waited = broken->again_wait(); !waited) return std::move(waited).error().about(inode.path_hint());
  }
}

}  // namespace holdfast::filesystem
