// Layout leases: somebody knows where the blocks of a range lie and goes by it (a peer that caches extents, a device
// that was told them), and has agreed to be asked for that knowledge back.
//
// A lease is a right to be told, and a duty to let go. It keeps no block in place by itself: whoever lets others reach
// blocks by it takes pins of them as well (filesystem/lease.h does both).
//
//   granted --recall: the holder is told, once--> recalled --its grace passes--> overdue --> given back
//
// An overdue lease is reported, never taken away: what its holder still reaches must not become another file's. What a
// change of the range waits for depends on its reason:
//
//   write   blocks come into the range, or begin to show their bytes. None leaves, so an overdue holder is not waited
//   for. unmap   blocks leave. By the policy of the break: `wait` waits for the return to its own deadline, `fail`
//   fails, and
//           `detach` waits for nobody, as what the holder has pinned goes to quarantine.
//   final   the file ends. Waits for nobody and cannot fail.
//
// Locking: the process's table of leases has a mutex of rank leaf. A holder is told with no lock held, on the thread
// that changes the range.
//
// Either/or of a lease and a break: a lease is listed, then asks whether a break of the range is active; a break
// becomes active, then looks for leases. Both steps of each take the same two locks, so either the lease sees the break
// and is refused, or the break sees the lease. Test: LeaseTest.MeetsANewBreak.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <holdfast/types.h>

#include "base/clock.h"
#include "base/result.h"
#include "mapping/mapping.h"

namespace holdfast::layout {

struct LeaseTerms {
  std::string holder;   // who has it and why, for reports
  Nanoseconds grace{};  // how long the holder needs to let go, at most
  // Told once, maybe before grant() has returned. May give the lease back; must not block, and must not change the
  // file.
  std::function<void(RecallReason)> recall;
};

enum class LeaseState : std::uint8_t {
  granted,
  recalled,  // told, within its grace
  overdue,   // told, and its grace has passed
  ended,     // given back, or its file has ended
};

struct LeaseRecord;

// Move-only; gives the lease back when destroyed. Any thread.
class Lease {
 public:
  Lease() = default;
  // EAGAIN: a break of the range is active.
  static Result<Lease> grant(const mapping::Mapping& mapping, PageRange range, LeaseTerms terms);
  Lease(Lease&&) noexcept = default;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { give_back(); }

  // Wakes whoever waits for it. After return the holder will not be told any more, though it may just be. Once or
  // often.
  void give_back() noexcept;
  LeaseState state() const;

 private:
  explicit Lease(std::shared_ptr<LeaseRecord> record) : record_(std::move(record)) {}
  std::shared_ptr<LeaseRecord> record_;
};

// One lease that was not given back, as reports show it.
struct LeaseReport {
  pagemap::FileKey file;
  PageRange range;
  std::string holder;
  std::int32_t tid = 0;
  LeaseState state = LeaseState::granted;
  Nanoseconds age{};
  Nanoseconds since_recall{};  // 0 while granted
  Nanoseconds grace{};
};
std::vector<LeaseReport> leases_of(pagemap::FileKey file, PageRange range);
std::vector<LeaseReport> leases_of_filesystem(std::uint32_t filesystem);

// Tells the holders of leases that overlap the range and were not told before. No lock is held by the caller.
void recall(const mapping::Mapping& mapping, PageRange range, RecallReason reason);
// Whether no lease overlaps the range.
bool none_leased(const mapping::Mapping& mapping, PageRange range);
// Woken whenever a lease ends. One key for the process.
const void* lease_ended_key();

// Before blocks come into the range: tells the holders and waits until the leases are given back or overdue. EINTR.
Status recall_for_write(const mapping::Mapping& mapping, PageRange range);
// The file ends, and its leases with it: tells the holders, waits for nobody.
void end_leases(const mapping::Mapping& mapping);

}  // namespace holdfast::layout
