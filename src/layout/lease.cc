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
  Nanoseconds recalled{0};  // 0: not told
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
  record->tid = static_cast<std::int32_t>(gettid());
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

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    give_back();
    record_ = std::move(other.record_);
  }
  return *this;
}

void Lease::give_back() noexcept {
  if (record_ == nullptr) return;
  const LeaseRecord* const mine = record_.get();
  const bool listed = !take(table(), [mine](const LeaseRecord& record) { return &record == mine; }).empty();
  if (listed) wake(lease_ended_key());
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

void recall(const Mapping& mapping, PageRange range, RecallReason reason) {
  LeaseTable& leases = table();
  std::vector<RecordPointer> told;
  {
    const MutexLock lock(leases.mutex);
    for (const RecordPointer& record : leases.records) {
      if (record->recalled.count() != 0 || !covers(*record, mapping.file(), range)) continue;
      record->recalled = monotonic_now();
      told.push_back(record);
    }
  }
  for (const RecordPointer& record : told) {
    HF_TRACE3(recall, mapping.file().inode, record->range.first.raw(), record->range.end.raw());
    if (record->terms.recall) record->terms.recall(reason);
  }
}

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
  // relaxed: a lease that is granted at this moment may come before or behind the write.
  if (table().count.load(std::memory_order_relaxed) == 0 || none_leased(mapping, range)) return {};
  recall(mapping, range, RecallReason::write);
  Nanoseconds left{0};
  for (const LeaseReport& lease : leases_of(mapping.file(), range)) {
    left = std::max(left, lease.grace - lease.since_recall);
  }
  HF_MARK("layout.lease.write_waits");
  const ParkOutcome outcome =
      wait_until(lease_ended_key(), Deadline::after(left), [&] { return none_leased(mapping, range); });
  if (outcome != ParkOutcome::interrupted) return {};
  return Error(EINTR, fmt::format("inode {}", mapping.file().inode), "a signal came while a lease was recalled");
}

void end_leases(const Mapping& mapping) {
  LeaseTable& leases = table();
  if (leases.count.load(std::memory_order_relaxed) == 0) return;  // relaxed: nobody can lease a file that ends
  for (const RecordPointer& record : take(leases, [&](const LeaseRecord& one) { return one.file == mapping.file(); })) {
    if (record->recalled.count() == 0 && record->terms.recall) record->terms.recall(RecallReason::final);
  }
  wake(lease_ended_key());
}

}  // namespace holdfast::layout
