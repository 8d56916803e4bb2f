#include "layout/lease.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/fork.h"
#include "base/mark.h"
#include "base/trace.h"
#include "base/wait_queue.h"

namespace holdfast::layout {

using mapping::Mapping;

// What stands in the table until the lease ends.
struct LeaseRecord {
  pagemap::FileKey file;
  PageRange range;
  LeaseTerms terms;
  Nanoseconds since{};
  std::int32_t tid = 0;
  // The rest is guarded by the table's mutex.
  Nanoseconds recalled{0};  // 0: not recalled
  RecallReason reason = RecallReason::write;
  bool armed = false;
  bool told = false;
  std::int32_t teller = 0;  // the thread in `terms.recall`, or 0
  bool ended = false;
};

namespace {

using RecordPointer = std::shared_ptr<LeaseRecord>;

struct LeaseTable {
  Mutex mutex{LockRank::leaf};
  std::vector<RecordPointer> records HF_GUARDED_BY(mutex);
  // Changed under the mutex; read without it where nobody is leased most of the time.
  Atomic<std::uint32_t> count;
};

Atomic<LeaseTable*> table_of_process;

LeaseTable& table() {
  static const bool made = [] {
    table_of_process.word().store(new LeaseTable, std::memory_order_release);
    // What the parent leased is not the child's, and its mutex may be locked for ever.
    on_fork_in_child([] { table_of_process.word().store(new LeaseTable, std::memory_order_release); });
    return true;
  }();
  static_cast<void>(made);
  return *table_of_process.word().load(std::memory_order_acquire);  // partner: the stores above
}

std::int32_t this_thread() { return static_cast<std::int32_t>(gettid()); }

// At most once. Not before it is armed: arm() does it then.
void tell_one(LeaseRecord& record, RecallReason reason) {
  LeaseTable& leases = table();
  {
    const MutexLock lock(leases.mutex);
    if (!record.armed || record.told) return;
    record.told = true;
    record.teller = this_thread();
  }
  HF_TRACE3(recall, record.file.inode, record.range.first.raw(), record.range.end.raw());
  if (record.terms.recall) record.terms.recall(reason);
  {
    const MutexLock lock(leases.mutex);
    record.teller = 0;
  }
  wake(&record);
}

bool covers(const LeaseRecord& record, pagemap::FileKey file, PageRange range) {
  return record.file == file && record.range.overlaps(range);
}

LeaseState state_of(const LeaseRecord& record) {
  if (record.ended) return LeaseState::ended;
  if (record.recalled.count() == 0) return LeaseState::granted;
  return monotonic_now() - record.recalled > record.terms.grace ? LeaseState::overdue : LeaseState::recalled;
}

// Takes the records that match out of the table.
template <typename Matches>
std::vector<RecordPointer> take(LeaseTable& from, Matches matches) {
  const MutexLock lock(from.mutex);
  std::vector<RecordPointer> taken;
  for (RecordPointer& record : from.records) {
    if (!matches(*record)) continue;
    record->ended = true;
    taken.push_back(std::move(record));
  }
  from.records.erase(std::remove(from.records.begin(), from.records.end(), nullptr), from.records.end());
  from.count.store(static_cast<std::uint32_t>(from.records.size()), std::memory_order_relaxed);
  return taken;
}

template <typename Matches>
std::vector<LeaseReport> report(Matches matches) {
  LeaseTable& leases = table();
  const Nanoseconds now = monotonic_now();
  std::vector<LeaseReport> reports;
  const MutexLock lock(leases.mutex);
  for (const RecordPointer& record : leases.records) {
    if (!matches(*record)) continue;
    const Nanoseconds since_recall = record->recalled.count() == 0 ? Nanoseconds(0) : now - record->recalled;
    reports.push_back({record->file, record->range, record->terms.holder, record->tid, state_of(*record),
                       now - record->since, since_recall, record->terms.grace});
  }
  return reports;
}

}  // namespace

Result<Lease> Lease::grant(const Mapping& mapping, PageRange range, LeaseTerms terms) {
  LeaseTable& leases = table();
  auto record = std::make_shared<LeaseRecord>();
  record->file = mapping.file();
  record->range = range;
  record->terms = std::move(terms);
  record->since = monotonic_now();
  record->tid = this_thread();
  Lease lease(record);
  {
    const MutexLock lock(leases.mutex);
    leases.records.push_back(std::move(record));
    leases.count.store(static_cast<std::uint32_t>(leases.records.size()), std::memory_order_relaxed);
  }
  HF_MARK("layout.lease.listed");
  if (const std::optional<PageRange> broken = mapping.breaking(range)) {
    return Error(EAGAIN, fmt::format("inode {}", mapping.file().inode), "a truncate or punch of the range is waiting",
                 "ask again when it is over");
  }
  return lease;
}

void Lease::arm() {
  RecallReason reason{};
  {
    const MutexLock lock(table().mutex);
    record_->armed = true;
    if (record_->recalled.count() == 0) return;
    reason = record_->reason;
  }
  tell_one(*record_, reason);
}

void Tellings::tell() {
  for (const RecordPointer& record : std::exchange(records_, {})) tell_one(*record, reason_);
}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    give_back();
    record_ = std::move(other.record_);
  }
  return *this;
}

void Lease::give_back() noexcept {
  if (record_ == nullptr) return;
  LeaseRecord* const mine = record_.get();
  LeaseTable& leases = table();
  const bool listed = !take(leases, [mine](const LeaseRecord& record) { return &record == mine; }).empty();
  if (listed) wake(lease_ended_key());
  const auto is_over = [&] {
    const MutexLock lock(leases.mutex);
    mine->armed = false;
    return mine->teller == 0 || mine->teller == this_thread();
  };
  // Bounded, as telling does not block; a signal does not end it. Test: LeaseTest.AReturnWaitsForTheTelling.
  while (wait_until(mine, Deadline::never(), is_over) != ParkOutcome::unparked) {
  }
  record_.reset();
}

LeaseState Lease::state() const {
  if (record_ == nullptr) return LeaseState::ended;
  LeaseTable& leases = table();
  const MutexLock lock(leases.mutex);
  return state_of(*record_);
}

std::vector<LeaseReport> leases_of(pagemap::FileKey file, PageRange range) {
  return report([&](const LeaseRecord& record) { return covers(record, file, range); });
}

std::vector<LeaseReport> leases_of_filesystem(std::uint32_t filesystem) {
  return report([=](const LeaseRecord& record) { return record.file.filesystem == filesystem; });
}

Tellings claim(const Mapping& mapping, PageRange range, RecallReason reason) {
  LeaseTable& leases = table();
  // relaxed: a lease is listed before it takes the mapping's tree lock (grant) and the file's (its look at the blocks);
  // who comes here has had one of them since the change began, so what was listed before that is seen.
  if (leases.count.load(std::memory_order_relaxed) == 0) return {};
  std::vector<RecordPointer> claimed;
  const MutexLock lock(leases.mutex);
  for (const RecordPointer& record : leases.records) {
    if (record->recalled.count() != 0 || !covers(*record, mapping.file(), range)) continue;
    record->recalled = monotonic_now();
    record->reason = reason;
    claimed.push_back(record);
  }
  return {reason, std::move(claimed)};
}

void recall(const Mapping& mapping, PageRange range, RecallReason reason) { claim(mapping, range, reason).tell(); }

bool none_leased(const Mapping& mapping, PageRange range) {
  LeaseTable& leases = table();
  const MutexLock lock(leases.mutex);
  return std::none_of(leases.records.begin(), leases.records.end(),
                      [&](const RecordPointer& record) { return covers(*record, mapping.file(), range); });
}

const void* lease_ended_key() {
  static constexpr char kKey = 0;
  return &kKey;
}

Status recall_for_write(const Mapping& mapping, PageRange range) {
  // relaxed: a lease that comes at this moment is recalled when the blocks come (filesystem/allocation.cc).
  if (table().count.load(std::memory_order_relaxed) == 0) return {};
  for (;;) {
    recall(mapping, range, RecallReason::write);
    // What the one that needs longest has left. A lease that came meanwhile was not recalled: it is, in the next round.
    Nanoseconds left{0};
    bool came = false;
    for (const LeaseReport& lease : leases_of(mapping.file(), range)) {
      came = came || lease.state == LeaseState::granted;
      left = std::max(left, lease.grace - lease.since_recall);
    }
    if (came) continue;
    if (left.count() <= 0) return {};
    HF_MARK("layout.lease.write_waits");
    const ParkOutcome outcome =
        wait_until(lease_ended_key(), Deadline::after(left), [&] { return none_leased(mapping, range); });
    if (outcome != ParkOutcome::interrupted) return {};
    return Error(EINTR, fmt::format("inode {}", mapping.file().inode), "a signal came while a lease was recalled");
  }
}

namespace {

template <typename Matches>
Tellings end_those(Matches matches) {
  if (table().count.load(std::memory_order_relaxed) == 0) return {};  // relaxed: nobody can lease what ends
  std::vector<RecordPointer> untold = take(table(), matches);
  untold.erase(std::remove_if(untold.begin(), untold.end(),
                              [](const RecordPointer& record) { return record->recalled.count() != 0; }),
               untold.end());
  wake(lease_ended_key());
  return {RecallReason::final, std::move(untold)};
}

}  // namespace

Tellings end_leases(const Mapping& mapping) {
  return end_those([&](const LeaseRecord& one) { return one.file == mapping.file(); });
}

Tellings end_leases(std::uint32_t filesystem) {
  return end_those([=](const LeaseRecord& one) { return one.file.filesystem == filesystem; });
}

}  // namespace holdfast::layout
