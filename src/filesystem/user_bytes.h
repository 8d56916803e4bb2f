// The caller's memory, in pieces (iovec), as one run of bytes.
//
// Touching it may fault, block or raise the caller's own signal: nobody does so with a lock or an open handle. None of
// it lies in a window.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/check.h"
#include "base/mutex.h"
#include "device/copy.h"
#include "filesystem/window_memory.h"

namespace holdfast::filesystem {

class UserBytes {
 public:
  explicit UserBytes(std::span<const iovec> pieces) : pieces_(pieces) {
    for (const iovec& piece : pieces) {
      overflows_ = overflows_ || piece.iov_len > kMax - size_;
      if (!overflows_) size_ += piece.iov_len;
    }
  }

  // What fits a signed size, as readv(2) wants it.
  static constexpr std::size_t kMax = SIZE_MAX / 2;
  bool overflows() const { return overflows_; }
  std::size_t size() const { return size_; }

  // Calls visit(std::byte* memory, std::size_t length) for the pieces of [at, at + length), in order, until it says
  // false; answers whether it never did.
  template <typename Visit>
  bool each(std::size_t at, std::size_t length, Visit visit) {
    check_harmless();
    seek(at);
    while (length > 0) {
      const iovec& piece = pieces_[piece_];
      const std::size_t offset = at - begin_;
      const std::size_t part = std::min(piece.iov_len - offset, length);
      if (part > 0 && !visit(static_cast<std::byte*>(piece.iov_base) + offset, part)) return false;
      at += part;
      length -= part;
      if (at == begin_ + piece.iov_len && length > 0) {
        begin_ = at;
        ++piece_;
      }
    }
    return true;
  }

  // To device memory, and from it.
  bool store(std::size_t at, std::byte* device, std::size_t length) {
    return each(at, length, [&device](const std::byte* memory, std::size_t part) {
      const bool done = device::store(device, memory, part) == device::CopyOutcome::done;
      device += part;
      return done;
    });
  }
  bool load(std::size_t at, const std::byte* device, std::size_t length) {
    return each(at, length, [&device](std::byte* memory, std::size_t part) {
      const bool done = device::load(memory, device, part) == device::CopyOutcome::done;
      device += part;
      return done;
    });
  }
  void clear(std::size_t at, std::size_t length) {
    each(at, length, [](std::byte* memory, std::size_t part) {
      std::memset(memory, 0, part);
      return true;
    });
  }
  // To memory of ours.
  void gather(std::size_t at, std::byte* to, std::size_t length) {
    each(at, length, [&to](const std::byte* memory, std::size_t part) {
      std::memcpy(to, memory, part);
      to += part;
      return true;
    });
  }

 private:
  void check_harmless() const {
    HF_DEBUG_CHECK(!lock_order::held(LockRank::inode) && !lock_order::held(LockRank::handle),
                   "the caller's memory is touched under a lock");
    HF_DEBUG_CHECK(!in_windows(pieces_), "the caller's memory lies in a window: see window_memory.h");
  }
  void seek(std::size_t at) {
    if (at < begin_) {
      begin_ = 0;
      piece_ = 0;
    }
    while (piece_ + 1 < pieces_.size() && at >= begin_ + pieces_[piece_].iov_len) begin_ += pieces_[piece_++].iov_len;
  }

  std::span<const iovec> pieces_;
  std::size_t size_ = 0;
  bool overflows_ = false;
  // The piece used last, and where it begins.
  std::size_t piece_ = 0;
  std::size_t begin_ = 0;
};

}  // namespace holdfast::filesystem
