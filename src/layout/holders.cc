#include "layout/holders.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>

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

std::string name_of(const pagemap::Holder& holder) {
  const auto age = std::chrono::duration<double>(monotonic_now() - holder.since).count();
  return fmt::format("\"{}\" by pid {} for {:.1f} s at bytes [{}, {})", holder.identity.purpose, holder.pid,
                     std::max(age, 0.0), holder.identity.offset, holder.identity.offset + holder.identity.length);
}

}  // namespace

Error pinned_error(int code, const mapping::Mapping& mapping, PageRange range, const std::string& what) {
  const Bytes bytes = bytes_of(range);
  const auto holders = pagemap::holders_of(mapping.file(), bytes.offset, bytes.length, kNamed + 1);
  std::string reason = what;
  for (std::size_t i = 0; i < std::min(holders.size(), kNamed); ++i) {
    reason += i == 0 ? ": " : ", ";
    reason += name_of(holders[i]);
  }
  if (holders.size() > kNamed) reason += ", and more";
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
