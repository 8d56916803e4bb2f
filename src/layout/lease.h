// Layout leases: somebody knows where the blocks of a range lie and goes by it (a peer that caches extents, a device
// that was told them), and has agreed to be asked for that knowledge back.
//
// A lease is a right to be told, and a duty to let go. It keeps no block in place by itself: whoever lets others reach
// blocks by it takes pins of them as well (filesystem/lease.h does both).
//
//   granted --recalled, and the holder is told--> recalled --its grace passes--> overdue --> given back
//
// An overdue lease is reported, never taken away: what its holder still reaches must not become another file's. What a
// change of the range waits for depends on its reason:
//
// | reason | what happens | who waits |
// |---|---|---|
// | write | blocks come into the range, or begin to show bytes; none leaves | until the return, or the end of the grace
// | | unmap | blocks leave | as for pins, by the policy of the break; `detach` for nobody | | final | the file ends |
// nobody, and it cannot fail |
//
// Locking: the process's table of leases has a mutex of rank leaf. A holder is told with no lock held: on the thread
// that changes the range, or, where that has locks, on one that it hands the Tellings to.
//
// Either/or of a lease and a break: a lease is listed, then asks whether a break of the range is active; a break
// becomes active, then looks for leases. Both steps of each take the same two locks, so either the lease sees the break
// and is refused, or the break sees the lease. Test: LeaseTest.MeetsANewBreak.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <holdfast/types.h>

#include "base/clock.h"
#include "base/result.h"
#include "mapping/mapping.h"

namespace holdfast::layout {

struct LeaseTerms {
  std::string holder;   // who has it and why, for reports
  Nanoseconds grace{};  // how long the holder needs to let go, at most
  // Told once, from arm() on. May give the lease back; must not block, and must not change the file.
  std::function<void(RecallReason)> recall;
};

enum class LeaseState : std::uint8_t {
  granted,
  recalled,  // within its grace
  overdue,   // recalled, and its grace has passed
  ended,     // given back, or its file has ended
};

struct LeaseRecord;

// Holders that are to be told, each of them once. Told by tell(), which holds no lock, at the latest by the destructor.
class Tellings {
 public:
  Tellings() = default;
  Tellings(RecallReason reason, std::vector<std::shared_ptr<LeaseRecord>> records)
      : reason_(reason), records_(std::move(records)) {}
  Tellings(Tellings&&) noexcept = default;
  Tellings& operator=(Tellings&&) = delete;
  ~Tellings() { tell(); }
  bool empty() const { return records_.empty(); }
  void tell();

 private:
  RecallReason reason_ = RecallReason::write;
  std::vector<std::shared_ptr<LeaseRecord>> records_;
};

// Move-only; gives the lease back when destroyed. Any thread.
class Lease {
 public:
  Lease() = default;
  // Listed from now on: whoever changes the range recalls it. EAGAIN: a break of the range is active.
  static Result<Lease> grant(const mapping::Mapping& mapping, PageRange range, LeaseTerms terms);
  // The holder may be told from now on: of what came since grant(), at once, on this thread. Once.
  void arm();
  Lease(Lease&&) noexcept = default;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { give_back(); }

  // Wakes whoever waits for it. After return the holder is not told any more; one that is just told, on another thread,
  // is waited for. Once or often.
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

// Recalls the leases that overlap the range and were not recalled before, and tells their holders. No lock is held by
// the caller.
void recall(const mapping::Mapping& mapping, PageRange range, RecallReason reason);
// The same for who holds locks: the leases are recalled, and the holders are to be told without them.
[[nodiscard]] Tellings claim(const mapping::Mapping& mapping, PageRange range, RecallReason reason);
// Whether no lease overlaps the range.
bool none_leased(const mapping::Mapping& mapping, PageRange range);
// Woken whenever a lease ends. One key for the process.
const void* lease_ended_key();

// Before blocks come into the range: recalls, and waits until the leases are given back or overdue. EINTR.
Status recall_for_write(const mapping::Mapping& mapping, PageRange range);
// The file (the file system) ends, and its leases with it.
[[nodiscard]] Tellings end_leases(const mapping::Mapping& mapping);
[[nodiscard]] Tellings end_leases(std::uint32_t filesystem);

}  // namespace holdfast::layout
