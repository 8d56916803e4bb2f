// The order of bytes and of what makes them readable.
//
// A block that was unwritten on the medium shows the bytes that lie in it as soon as a commit says that it is written:
// those bytes must be durable before that commit is, or a crash shows what its former owner left there. So whoever
// tells the format that blocks are written calls this first, in the same handle's life or before; the commit that
// follows waits for everything that was flushed before it writes the word that makes it one (Format::commit). Test:
// Ordered.BytesAreFlushedBeforeTheCommitThatShowsThem.
#pragma once

#include "device/device.h"
#include "filesystem/format.h"

namespace holdfast::filesystem {

// Whether stores have a way to go before they are safe; elsewhere there is nothing to order.
inline bool keeps_bytes(const device::Device& device) {
  switch (device.geometry().kind) {
    case device::Kind::disk_file:
    case device::Kind::devdax:
      return true;
    case device::Kind::memory:
    case device::Kind::tmpfs_file:
    case device::Kind::hugetlb_file:
      return false;
  }
  return false;
}

// The bytes of the extent are durable when the next commit is. On /dev/dax a fence speaks for its own thread alone, and
// costs nothing: it is made here.
inline Status order_bytes(device::Device& device, const Extent& extent) {
  if (!keeps_bytes(device)) return {};
  HF_TRY(device.flush(extent.pfn.bytes(), extent.count.bytes()));
  return device.geometry().kind == device::Kind::devdax ? device.fence() : Status();
}

// What the library has stored over bytes that are written already is durable on persistent memory when this returns:
// no mark tells a sync of it. Elsewhere a sync finds it.
inline Status persist(device::Device& device, std::uint64_t offset, std::uint64_t length) {
  if (!device.geometry().is_persistent_memory()) [[likely]] {
    return {};
  }
  HF_TRY(device.flush(offset, length));
  return device.fence();
}

}  // namespace holdfast::filesystem
