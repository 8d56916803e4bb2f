#include "filesystem/pin.h"

#include "filesystem/dirty.h"
#include "filesystem/pin_source.h"
#include "filesystem/pin_track.h"
#include "layout/lease.h"
#include "pin/attempt.h"
#include "pin/fast.h"

namespace holdfast::filesystem {

Status PinSource::track(PageRange range, Access access, Deadline deadline) {
  // Tracking for writing may fill holes.
  if (access == Access::write) HF_TRY(layout::recall_for_write(inode_.mapping, range));
  return filesystem::track(inode_, range, access, deadline, Units::make);
}

namespace {

[[gnu::noinline]] Result<Pin> pin_slowly(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                         const PinOptions& options) {
  if (!inode.core.is_usable()) return inode.core.usable_error();
  PinSource source(inode);
  return pin::take_slowly(source, offset, length, options);
}

[[gnu::noinline]] Result<Pin> try_pin_slowly(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                             const PinOptions& options) {
  if (!inode.core.is_usable()) return inode.core.usable_error();
  // On persistent memory the first pin that may write since a sync marks what it may write to.
  if (options.access == Access::write && length > 0 && offset < kFileBytesMax && length < kFileBytesMax) {
    HF_TRY(mark_stores(inode, pages_touched(offset, length), Deadline::at(Nanoseconds(0))));
  }
  PinSource source(inode);
  return pin::try_take_slowly(source, offset, length, options);
}

}  // namespace

Result<Pin> try_pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  return pin::take(inode.core.is_usable(), InodeTarget{inode}, offset, length, options,
                   [&] { return try_pin_slowly(inode, offset, length, options); });
}

Result<Pin> pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  return pin::take(inode.core.is_usable(), InodeTarget{inode}, offset, length, options,
                   [&] { return pin_slowly(inode, offset, length, options); });
}

}  // namespace holdfast::filesystem
