// Leases of files: the blocks of a range pinned, and the holder listed with those to be asked back.
#pragma once

#include <memory>
#include <vector>

#include <holdfast/lease.h>

#include "filesystem/core.h"
#include "layout/lease.h"

namespace holdfast::filesystem {

// The pins go before the listing: who was told that the lease ended finds no pin of it.
struct FileLease {
  layout::Lease listing;
  std::vector<Pin> pins;
  std::vector<LeasedExtent> extents;
};

// Tells the holders on the worker's thread: for who holds locks. Where no thread can be had, on this one.
void tell_later(Core& core, layout::Tellings tellings);

// Errors as holdfast::File::lease; nothing is left behind. No lock is held by the caller.
Result<std::unique_ptr<FileLease>> lease(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                         const LeaseOptions& options);

std::vector<LeaseInfo> lease_report(Core& core);

}  // namespace holdfast::filesystem
