#include "filesystem/times.h"

#include <algorithm>

#include "filesystem/core.h"

namespace holdfast::filesystem {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kDay = std::int64_t{24} * 60 * 60;

std::int64_t lazy_now() {
  const FileTime now = file_time_now();
  return now.seconds * kSecond + now.nanoseconds;
}

FileTime from_lazy(std::int64_t nanoseconds) {
  return {nanoseconds / kSecond, static_cast<std::uint32_t>(nanoseconds % kSecond)};
}

}  // namespace

bool access_time_due(const Attributes& attributes) {
  return attributes.accessed <= std::max(attributes.modified, attributes.changed) ||
         attributes.accessed.seconds + kDay <= file_time_now().seconds;
}

void note_write(Inode& inode) {
  const std::int64_t now = lazy_now();
  // The clock ticks every few milliseconds: between two ticks the line stays shared among writers.
  if (inode.modified_lazily.load(std::memory_order_relaxed) == now) return;
  inode.modified_lazily.store(now, std::memory_order_relaxed);
  inode.access_due.store(true, std::memory_order_relaxed);
}

void note_read(Inode& inode) {
  if (!inode.access_due.load(std::memory_order_relaxed)) return;
  inode.access_due.store(false, std::memory_order_relaxed);
  if (!inode.core.read_only()) inode.accessed_lazily.store(lazy_now(), std::memory_order_relaxed);
}

bool fold_times(Inode& inode) {
  Attributes& attributes = inode.attributes;
  bool changed = false;
  const auto raise = [&changed](FileTime& time, std::int64_t lazily) {
    // 0: nothing was noted. Times before 1970 are smaller and stay.
    if (lazily == 0 || time >= from_lazy(lazily)) return;
    time = from_lazy(lazily);
    changed = true;
  };
  const std::int64_t modified = inode.modified_lazily.load(std::memory_order_relaxed);
  raise(attributes.modified, modified);
  raise(attributes.changed, modified);
  raise(attributes.accessed, inode.accessed_lazily.load(std::memory_order_relaxed));
  return changed;
}

void note_change(Inode& inode) {
  inode.attributes.modified = inode.attributes.changed = file_time_now();
  inode.access_due.store(true, std::memory_order_relaxed);
}

}  // namespace holdfast::filesystem
