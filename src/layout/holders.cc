#include "layout/holders.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>

#include "layout/lease.h"
#include "pagemap/pin_table.h"

namespace holdfast::layout {
namespace {

constexpr std::size_t kNamed = 4;

struct Bytes {
  std::uint64_t offset;
  std::uint64_t length;
};

// kEndOfFile is beyond what bytes can say.
Bytes bytes_of(PageRange range) {
  const std::uint64_t offset = range.first.bytes();
  return {offset, range.end >= kEndOfFile ? UINT64_MAX - offset : range.end.bytes() - offset};
}

std::string bytes_text(std::uint64_t first, std::uint64_t end) { return fmt::format("at bytes [{}, {})", first, end); }

double seconds(Nanoseconds time) { return std::max(std::chrono::duration<double>(time).count(), 0.0); }

std::string name_of(const pagemap::Holder& holder) {
  const pagemap::PinIdentity& pin = holder.identity;
  return fmt::format("\"{}\" by pid {} for {:.1f} s {}", pin.purpose, holder.pid,
                     seconds(monotonic_now() - holder.since), bytes_text(pin.offset, pin.offset + pin.length));
}

std::string name_of(const LeaseReport& lease) {
  const PageIndex end = std::min(lease.range.end, kEndOfFile);
  return fmt::format("\"{}\", a lease of thread {} {}, asked back {:.1f} s ago{}", lease.holder, lease.tid,
                     bytes_text(lease.range.first.bytes(), end.bytes()), seconds(lease.since_recall),
                     lease.state == LeaseState::overdue ? ", overdue" : "");
}

}  // namespace

Error in_the_way(int code, const mapping::Mapping& mapping, PageRange range, const std::string& what) {
  const Bytes bytes = bytes_of(range);
  std::vector<std::string> names;
  for (const LeaseReport& lease : leases_of(mapping.file(), range)) names.push_back(name_of(lease));
  for (const pagemap::Holder& holder : pagemap::holders_of(mapping.file(), bytes.offset, bytes.length, kNamed + 1)) {
    names.push_back(name_of(holder));
  }
  std::string reason = what;
  for (std::size_t i = 0; i < std::min(names.size(), kNamed); ++i) {
    reason += i == 0 ? ": " : ", ";
    reason += names[i];
  }
  if (names.size() > kNamed) reason += ", and more";
  if (names.empty()) reason += ", through another file that shares the blocks or by somebody who just lets go";
  return Error(code, fmt::format("inode {}", mapping.file().inode), std::move(reason),
               code == EDEADLK ? "release them first, or pin with released_elsewhere" : "");
}

bool waits_for_itself(const mapping::Mapping& mapping, PageRange range) {
  // The first question is cheap, and mostly the answer.
  if (!pagemap::this_thread_holds(mapping.file())) return false;
  const Bytes bytes = bytes_of(range);
  return pagemap::only_this_thread_holds(mapping.file(), bytes.offset, bytes.length);
}

}  // namespace holdfast::layout
