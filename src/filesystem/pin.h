// Pins: taking them, fast and slowly, and reporting them.
//
// The fast way touches no lock and no metadata: an identity slot of the thread, one count, one look at the entry. What
// is not tracked yet goes the slow way (pin_track.h): extents are looked up, holes filled, entries inserted; then the
// fast way again. Waiting for a break happens with nothing held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <holdfast/pin.h>

#include "base/result.h"
#include "filesystem/core.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

// See holdfast::File::pin, but for EBADF. No lock is held.
Result<Pin> pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options);
// Never waits and never allocates: EAGAIN when the range is not tracked, or a break waits for it.
Result<Pin> try_pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options);

struct InodeRange {
  Inode* inode = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// One pin for each range, in the order given, or none. It never waits with a pin taken: when a break is in the way of
// one, all are given back first. So two of these never wait for each other.
Result<std::vector<Pin>> pin_many(Core& core, const std::vector<InodeRange>& ranges, const PinOptions& options);

std::vector<PinInfo> pin_report(Core& core, std::size_t limit);

}  // namespace holdfast::filesystem
