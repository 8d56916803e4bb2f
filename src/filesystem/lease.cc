#include "filesystem/lease.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "filesystem/lookup.h"
#include "filesystem/pin.h"
#include "pin/wait.h"

namespace holdfast::filesystem {
namespace {

struct BlockRun {
  std::uint64_t offset;
  std::uint64_t length;
};

// What of [offset, offset + length) has blocks. EINVAL, ENXIO.
Result<std::vector<BlockRun>> runs_with_blocks(Inode& inode, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  const MutexLock lock(inode.lock);
  if (inode.type != FileType::regular) return Error(EINVAL, inode.path_hint(), "not a regular file");
  if (length == 0 || end < offset || end > inode.attributes.size) {
    return Error(ENXIO, inode.path_hint(), "the range is empty or reaches past the end of the file");
  }
  std::vector<BlockRun> runs;
  for (PageIndex at = page_holding(offset); at.bytes() < end;) {
    HF_ASSIGN(const Found found, locate(inode, at));
    const std::uint64_t from = std::max(at.bytes(), offset);
    const std::uint64_t to = std::min((at + found.count).bytes(), end);
    at += found.count;
    if (found.kind == Found::Kind::hole) continue;
    if (!runs.empty() && runs.back().offset + runs.back().length == from) {
      runs.back().length += to - from;
    } else {
      runs.push_back({from, to - from});
    }
  }
  return runs;
}

// Once, or EAGAIN where a break is in the way.
Status try_lease(Inode& inode, std::uint64_t offset, std::uint64_t length, const LeaseOptions& options,
                 FileLease& lease) {
  HF_ASSIGN(const std::vector<BlockRun> runs, runs_with_blocks(inode, offset, length));
  const PinOptions pins{.access = options.access,
                        .purpose = options.purpose,
                        .deadline = options.deadline,
                        .on_break = OnBreak::fail,
                        .released_elsewhere = true};
  for (const BlockRun& run : runs) {
    HF_ASSIGN(Pin held, filesystem::pin(inode, run.offset, run.length, pins));
    std::uint64_t at = run.offset;
    for (const Segment& segment : held.segments()) {
      lease.extents.push_back({at, segment});
      at += segment.length;
    }
    lease.pins.push_back(std::move(held));
  }
  layout::LeaseTerms terms{options.purpose.text(), options.grace,
                           [told = options.on_recall, event_fd = options.event_fd](RecallReason reason) {
                             if (event_fd >= 0) {
                               constexpr std::uint64_t kOne = 1;
                               static_cast<void>(!::write(event_fd, &kOne, sizeof kOne));
                             }
                             if (told) told(reason);
                           }};
  HF_ASSIGN(lease.listing, layout::Lease::grant(inode.mapping, pages_touched(offset, length), std::move(terms)));
  return {};
}

}  // namespace

Result<std::unique_ptr<FileLease>> lease(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                         const LeaseOptions& options) {
  HF_TRY(inode.core.usable());
  const Deadline deadline = Deadline::after(options.deadline);
  for (;;) {
    auto taken = std::make_unique<FileLease>();
    const Status tried = try_lease(inode, offset, length, options, *taken);
    if (tried) return taken;
    if (tried.error().code() != EAGAIN) return Error(tried.error());
    taken.reset();  // before waiting: the break may be waiting for these very pins
    HF_TRY(pin::wait_for_break(inode.mapping, inode.path_hint(), pages_touched(offset, length),
                               {.purpose = options.purpose, .on_break = options.on_break}, deadline));
  }
}

std::vector<LeaseInfo> lease_report(Core& core) {
  std::vector<LeaseInfo> leases;
  for (const layout::LeaseReport& lease : layout::leases_of_filesystem(core.id())) {
    leases.push_back({.inode = lease.file.inode,
                      .path = core.is_usable() ? core.inodes().known_path(InodeNumber{lease.file.inode}) : "",
                      .offset = lease.range.first.bytes(),
                      .length = lease.range.count().bytes(),
                      .purpose = lease.holder,
                      .tid = lease.tid,
                      .age = lease.age,
                      .recalled = lease.state != layout::LeaseState::granted,
                      .since_recall = lease.since_recall,
                      .grace = lease.grace,
                      .overdue = lease.state == layout::LeaseState::overdue});
  }
  return leases;
}

}  // namespace holdfast::filesystem
