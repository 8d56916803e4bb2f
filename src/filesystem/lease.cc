#include "filesystem/lease.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/mark.h"
#include "filesystem/lookup.h"
#include "filesystem/pin.h"
#include "filesystem/worker.h"
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

// A number of our own for the caller's eventfd: the caller's may be closed, and name something else, when it is used.
Result<std::shared_ptr<const int>> keep_event_fd(const Inode& inode, int event_fd) {
  const int own = event_fd < 0 ? -1 : fcntl(event_fd, F_DUPFD_CLOEXEC, 0);
  if (event_fd >= 0 && own < 0) return Error(errno, inode.path_hint(), "the eventfd cannot be kept");
  return std::shared_ptr<const int>(new int(own), [](const int* kept) {
    if (*kept >= 0) ::close(*kept);
    delete kept;
  });
}

// Once, or EAGAIN where a break is in the way. Listed first, so that whoever fills a hole after it was seen tells.
Status try_lease(Inode& inode, std::uint64_t offset, std::uint64_t length, const LeaseOptions& options,
                 FileLease& lease) {
  HF_ASSIGN(std::shared_ptr<const int> event_fd, keep_event_fd(inode, options.event_fd));
  layout::LeaseTerms terms{options.purpose.text(), options.grace,
                           [told = options.on_recall, event_fd = std::move(event_fd)](RecallReason reason) {
                             if (*event_fd >= 0) {
                               constexpr std::uint64_t kOne = 1;
                               static_cast<void>(!::write(*event_fd, &kOne, sizeof kOne));
                             }
                             if (told) told(reason);
                           }};
  HF_ASSIGN(lease.listing, layout::Lease::grant(inode.mapping, pages_touched(offset, length), std::move(terms)));
  HF_ASSIGN(const std::vector<BlockRun> runs, runs_with_blocks(inode, offset, length));
  HF_MARK("lease.looked");
  // For reading, whatever will be done: a pin for writing would fill what becomes a hole meanwhile.
  const PinOptions pins{.access = Access::read,
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
  return {};
}

}  // namespace

void tell_later(Core& core, layout::Tellings tellings) {
  if (tellings.empty()) return;
  const auto kept = std::make_shared<layout::Tellings>(std::move(tellings));
  if (!core.worker().post([kept] { kept->tell(); })) kept->tell();
}

Result<std::unique_ptr<FileLease>> lease(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                         const LeaseOptions& options) {
  HF_TRY(inode.core.usable());
  // What cannot be leased at all is said before anything is listed.
  if (const auto runs = runs_with_blocks(inode, offset, length); !runs) return Error(runs.error());
  const PageRange pages = pages_touched(offset, length);
  const Deadline deadline = Deadline::after(options.deadline);
  bool for_no_break = false;
  for (;;) {
    auto taken = std::make_unique<FileLease>();
    const Status tried = try_lease(inode, offset, length, options, *taken);
    if (tried) {
      taken->listing.arm();
      return taken;
    }
    taken.reset();  // before waiting: the break may be waiting for these very pins
    if (tried.error().code() == ENXIO) {
      // Cut or punched between the look and the pin: the look says which.
      if (const auto runs = runs_with_blocks(inode, offset, length); !runs) return Error(runs.error());
      continue;
    }
    if (tried.error().code() != EAGAIN) return Error(tried.error());
    if (inode.mapping.breaking(pages)) {
      HF_TRY(pin::wait_for_break(inode.mapping, inode.path_hint(), pages,
                                 {.purpose = options.purpose, .on_break = options.on_break}, deadline));
    } else if (std::exchange(for_no_break, true)) {
      return Error(tried.error());  // twice: a page has as many pins as it can count
    }
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
