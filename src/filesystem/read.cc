#include "filesystem/read.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/mark.h"
#include "device/device.h"
#include "filesystem/core.h"
#include "filesystem/lookup.h"
#include "filesystem/poison.h"
#include "filesystem/times.h"
#include "filesystem/user_bytes.h"
#include "filesystem/window_memory.h"
#include "mapping/hold.h"

namespace holdfast::filesystem {
namespace {

struct Piece {
  std::size_t done = 0;
  std::optional<PageIndex> unknown;  // stopped here: where it lives is not known
  bool failed = false;               // the memory cannot be read
};

// What one hold keeps. The size is read inside it: pages below it cannot leave the file meanwhile.
Piece read_held(Inode& inode, std::uint64_t offset, UserBytes& into, std::size_t at, std::size_t length) {
  Piece piece;
  // acquire: partner is the store in grow_to and take_out.
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  if (offset >= size) return piece;
  HF_MARK("read.knows_size");
  length = std::min<std::uint64_t>(length, size - offset);
  while (piece.done < length) {
    const PageIndex page = page_holding(offset);
    const std::uint64_t inside = offset - page.bytes();
    const Found found = inode.extents.find(page);
    if (found.kind == Found::Kind::unknown) {
      piece.unknown = page;
      return piece;
    }
    const std::size_t part = std::min<std::uint64_t>(found.count.bytes() - inside, length - piece.done);
    if (found.kind == Found::Kind::lost) {
      piece.failed = true;
      return piece;
    }
    if (found.kind != Found::Kind::written) {
      into.clear(at, part);
    } else if (!into.load(at, inode.core.device().at(found.pfn) + inside, part)) {
      if (learn_of_lost_memory(inode.core)) continue;  // as far as it goes
      piece.failed = true;
      return piece;
    }
    piece.done += part;
    offset += part;
    at += part;
  }
  return piece;
}

}  // namespace

Result<std::size_t> read(Inode& inode, std::uint64_t offset, std::span<const iovec> into) {
  UserBytes bytes(into);
  if (bytes.overflows()) return Error(EINVAL, inode.path_hint(), "more bytes than a size can say");
  if (in_windows(into)) return read_to_windows(inode, offset, into);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::uint64_t at = offset + done;
    // acquire: as in read_held; spares a hold at the end of the file.
    if (at < offset || at >= inode.size.load(std::memory_order_acquire)) break;
    // Pieces end at multiples of their size, so that each but the first is a whole unit.
    const std::size_t length = std::min<std::uint64_t>(bytes.size() - done, kBytesAHold - at % kBytesAHold);
    Piece piece;
    {
      auto hold = mapping::Hold::enter(inode.mapping, pages_touched(at, length), Deadline::never());
      if (!hold) continue;  // a signal; the gate opens soon
      HF_MARK("read.held");
      piece = read_held(inode, at, bytes, done, length);
      // A detach that did not wait for us took some of it out of the file: zeros for bytes past the new end, maybe.
      if (hold->end()) continue;
    }
    done += piece.done;
    if (piece.failed) {
      if (done > 0) break;
      return memory_failed(inode, offset + done, "read");
    }
    if (piece.unknown) {
      const Result<Found> found = locate_unlocked(inode, *piece.unknown);
      if (!found) {
        if (done > 0) break;
        return Error(found.error());
      }
      continue;
    }
    if (piece.done < length) break;  // the end of the file
  }
  if (done > 0) note_read(inode);
  return done;
}

}  // namespace holdfast::filesystem
