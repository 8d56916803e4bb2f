#include "filesystem/punch.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/dirty.h"
#include "filesystem/fallocate.h"
#include "filesystem/growth.h"
#include "filesystem/quarantine_move.h"
#include "filesystem/removal.h"
#include "filesystem/times.h"
#include "filesystem/windows.h"

namespace holdfast::filesystem {
namespace {

// What lies past the end of the file shows nothing: the block there may go even if the range covers it in part.
Cut cut_of(const Inode& inode, std::uint64_t offset, std::uint64_t length) {
  std::uint64_t end = offset + length;
  // acquire: partner is whoever changed the size.
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  if (end >= size) end = std::max(end, round_up(size, kPageBytes));
  return {offset, end};
}

Result<bool> commit_zero(Inode& inode, layout::Break& broken, std::uint64_t offset, std::uint64_t length,
                         OnPinned on_pinned) {
  const MutexLock lock(inode.lock);
  std::optional<layout::Commit> commit = broken.commit();
  if (!commit) return false;
  const std::uint64_t end = offset + length;
  if (on_pinned == OnPinned::detach) {
    QuarantineMove detached(inode, *commit);
    HF_TRY(detached.find({}, {{{offset, end}, {}}}));
    if (!detached.empty()) {
      HF_TRY(flush_beside(inode, commit->range(), {}));
      inode.removals.fetch_add(1, std::memory_order_release);  // W3
      HF_ASSIGN(std::unique_ptr<Handle> moved, detached.move(std::nullopt));
      moved->done();
      moved.reset();
      commit->remove_entries();
      detached.hand_over();
      Status tracked = track_pinned(inode, *commit, {});
      refresh_windows(inode, commit->range());
      if (!tracked) return std::move(tracked).error();
    }
  }
  HF_TRY(zero_bytes(inode, offset, end));
  HF_TRY(reveal(inode, end));
  note_change(inode);
  inode.attributes_unrecorded = true;
  HF_TRY(grow_to(inode, end));
  return true;
}

}  // namespace

Status check_range(const Inode& inode, std::uint64_t offset, std::uint64_t length) {
  HF_TRY(inode.core.writable());
  if (inode.type == FileType::directory) return Error(EISDIR, inode.path_hint(), "");
  if (inode.type != FileType::regular) return Error(EINVAL, inode.path_hint(), "not a regular file");
  if (length == 0) return Error(EINVAL, inode.path_hint(), "an empty range");
  if (offset > kFileBytesMax || length > kFileBytesMax - offset) {
    return Error(EFBIG, inode.path_hint(), fmt::format("a file has at most {} bytes", kFileBytesMax));
  }
  return {};
}

PageRange range_to_punch(const Inode& inode, std::uint64_t offset, std::uint64_t length, OnPinned on_pinned) {
  return range_to_break(inode, cut_of(inode, offset, length), on_pinned);
}

Result<bool> commit_punch(Inode& inode, layout::Break& broken, std::uint64_t offset, std::uint64_t length,
                          OnPinned on_pinned) {
  HF_MARK("punch.stage_2");
  const MutexLock lock(inode.lock);
  const Cut cut = cut_of(inode, offset, length);
  std::optional<layout::Commit> commit = broken.commit();
  if (!commit) return false;
  // The size may have changed since the break began: what was not broken is only zeroed.
  const std::uint64_t end = std::min(cut.end, std::max(offset + length, commit->range().end.bytes()));
  HF_TRY(take_out(inode, *commit, {cut.begin, end}, on_pinned, std::nullopt));
  return true;
}

Status punch(Inode& inode, std::uint64_t offset, std::uint64_t length, OnPinned on_pinned, Deadline deadline) {
  HF_TRY(check_range(inode, offset, length));
  Result<layout::Break> broken =
      layout::Break::wait(inode.mapping, range_to_punch(inode, offset, length, on_pinned), {on_pinned, deadline});
  if (!broken) return std::move(broken).error().about(inode.path_hint());
  for (;;) {
    HF_ASSIGN(const bool done, commit_punch(inode, *broken, offset, length, on_pinned));
    if (done) return {};
    if (Status waited = broken->again_wait(); !waited) return std::move(waited).error().about(inode.path_hint());
  }
}

Status zero_range(Inode& inode, std::uint64_t offset, std::uint64_t length, OnPinned on_pinned, Deadline deadline) {
  HF_TRY(check_range(inode, offset, length));
  // Blocks first: a pool without space has changed nothing of the contents.
  HF_TRY(allocate(inode, offset, length, true));
  const PageRange range = range_to_break(inode, {offset, offset + length}, on_pinned);
  Result<layout::Break> broken = layout::Break::wait(inode.mapping, range, {on_pinned, deadline});
  if (!broken) return std::move(broken).error().about(inode.path_hint());
  for (;;) {
    HF_ASSIGN(const bool done, commit_zero(inode, *broken, offset, length, on_pinned));
    if (done) return {};
    if (Status waited = broken->again_wait(); !waited) return std::move(waited).error().about(inode.path_hint());
  }
}

}  // namespace holdfast::filesystem
