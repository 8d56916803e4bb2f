#include "filesystem/append.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "base/mark.h"
#include "base/wait_queue.h"
#include "filesystem/allocation.h"
#include "filesystem/core.h"
#include "filesystem/fallocate.h"
#include "filesystem/growth.h"
#include "filesystem/record.h"
#include "filesystem/thread_buffer.h"
#include "filesystem/times.h"
#include "filesystem/unit_maker.h"
#include "filesystem/window_memory.h"
#include "filesystem/write.h"
#include "layout/lease.h"

namespace holdfast::filesystem {
namespace {

Status check_end(const Inode& inode, std::uint64_t length) HF_REQUIRES(inode.lock) {
  if (length <= kFileBytesMax - inode.attributes.size) return {};
  return Error(EFBIG, inode.path_hint(), fmt::format("a file has at most {} bytes", kFileBytesMax));
}

// nullopt: another append owns the end. `came`: blocks.
Result<std::optional<std::uint64_t>> append_short(Inode& inode, std::span<const std::byte> bytes, PageRange& came) {
  const MutexLock lock(inode.lock);
  if (inode.appending) return std::optional<std::uint64_t>();
  HF_TRY(check_end(inode, bytes.size()));
  const std::uint64_t offset = inode.attributes.size;
  HF_ASSIGN(came, fill_holes(inode, pages_touched(offset, bytes.size()), Ahead::yes));
  HF_TRY(store_locked(inode, offset, bytes));
  note_change(inode);
  inode.attributes_unrecorded = true;
  HF_TRY(grow_to(inode, offset + bytes.size()));
  HF_TRY(record_if_many(inode));
  return std::optional(offset);
}

// The same.
Result<std::optional<std::uint64_t>> own_the_end(Inode& inode, std::uint64_t length) {
  const MutexLock lock(inode.lock);
  if (inode.appending) return std::optional<std::uint64_t>();
  HF_TRY(check_end(inode, length));
  inode.appending = true;
  return std::optional(inode.attributes.size);
}

void disown_the_end(Inode& inode) {
  {
    const MutexLock lock(inode.lock);
    inode.appending = false;
  }
  wake(&inode.appending);
}

Status wait_for_the_end(Inode& inode) {
  const ParkOutcome outcome = wait_until(&inode.appending, Deadline::never(), [&inode] {
    const MutexLock lock(inode.lock);
    return !inode.appending;
  });
  if (outcome == ParkOutcome::interrupted) return Error(EINTR, inode.path_hint(), "a signal came");
  return {};
}

Status store_all(Inode& inode, std::uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const iovec piece{const_cast<std::byte*>(from.data()), from.size()};  // NOLINT: iovec serves both directions
    HF_ASSIGN(const std::size_t done, write(inode, offset, {&piece, 1}));
    offset += done;
    from = from.subspan(done);
  }
  return {};
}

Status write_owned(Inode& inode, std::uint64_t offset, std::span<const std::byte> from) {
  // An append is whole or not at all: the source first, then all blocks.
  HF_TRY(check_readable(from));
  HF_TRY(allocate(inode, offset, from.size(), true));
  Status stored = store_all(inode, offset, from);
  if (!stored) {
    // As the kernel does: blocks past the end go. Where that fails they stay, and only take space.
    const MutexLock lock(inode.lock);
    static_cast<void>(drop_past_the_end(inode));
  }
  return stored;
}

}  // namespace

Result<std::uint64_t> append(Inode& inode, std::span<const std::byte> from) {
  HF_TRY(inode.core.writable());
  const bool is_short = from.size() <= kThreadBufferBytes;
  const std::span<std::byte> gathered = thread_buffer().first(is_short ? from.size() : 0);
  HF_TRY(gather(from.first(gathered.size()), gathered.data()));
  HF_MARK("append.gathered");
  // acquire: partner is whoever changed the size; where the end is by then is seen under the lock.
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  HF_TRY(layout::recall_for_write(inode.mapping, pages_touched(size, from.size())));
  bool made_space = false;
  for (;;) {
    PageRange came;
    auto got = is_short ? append_short(inode, gathered, came) : own_the_end(inode, from.size());
    make_units(inode, came);
    if (!got) {
      if (got.error().code() != ENOSPC || made_space) return std::move(got).error();
      make_space(inode.core);
      made_space = true;
      continue;
    }
    if (const std::optional<std::uint64_t> offset = *got) {
      if (is_short) return *offset;
      const Status written = write_owned(inode, *offset, from);
      disown_the_end(inode);
      if (!written) return Error(written.error());
      return *offset;
    }
    HF_TRY(wait_for_the_end(inode));
  }
}

}  // namespace holdfast::filesystem
