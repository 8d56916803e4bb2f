// Whose bytes a window shows, for those who meet the window first: by an address, or as a caller's buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "base/units.h"

namespace holdfast::window {

// A file that somebody has open, or a raw device. Keeps what the window shows, and outlives the window.
class Owner {
 public:
  // `pool`: the file system or device that it belongs to, as an identity.
  explicit Owner(const void* pool) : pool_(pool) {}
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  const void* pool() const { return pool_; }
  virtual std::string name() const = 0;
  // ECHILD in a forked child, ENODEV once the pool is closed or removed.
  virtual Status usable() const = 0;
  // Parts of a window are given up in multiples of these bytes.
  virtual std::uint64_t part() const = 0;
  // Where windows begin to show nothing: bytes.
  virtual std::uint64_t shown_end() const = 0;
  // Bytes of the range that were stored before are durable after, where the carrier is. EIO.
  virtual Status sync(PageRange range) = 0;

  // The window's bytes without a touch of the window: what a load or store there would find or leave. The caller holds
  // nothing. Returns how many of them, at least one; 0: the window shows nothing there. EIO, and to store ENOSPC.
  virtual Result<std::size_t> load(std::uint64_t offset, std::span<std::byte> to) = 0;
  virtual Result<std::size_t> store(std::uint64_t offset, std::span<const std::byte> from) = 0;

 protected:
  ~Owner() = default;

 private:
  const void* const pool_;
};

}  // namespace holdfast::window
