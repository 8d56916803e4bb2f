#include "cli/size.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>

#include "cli/command.h"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t kOffsetMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

std::optional<unsigned> shift_of(std::string_view suffix) {
  if (suffix.empty()) return 0U;
  if (suffix.size() != 1 && suffix.substr(1) != "iB") return std::nullopt;
  switch (suffix[0]) {
    case 'k':
    case 'K':
      return 10U;
    case 'm':
    case 'M':
      return 20U;
    case 'g':
    case 'G':
      return 30U;
    case 't':
    case 'T':
      return 40U;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  const std::optional<unsigned> shift = shift_of(text.substr(static_cast<std::size_t>(end - text.data())));
  if (!shift || number > (kOffsetMax >> *shift)) return std::nullopt;
  return number << *shift;
}

std::uint64_t size_or_usage(const std::string& text, const std::string& what) {
  if (const std::optional<std::uint64_t> size = parse_size(text)) return *size;
  throw UsageError{fmt::format("{} '{}' is not a size (a number, with K, M, G or T)", what, text)};
}

std::string human_size(std::uint64_t bytes) {
  static constexpr std::array kUnits{"", "K", "M", "G", "T", "P", "E"};
  unsigned unit = 0;
  while (unit + 1 < kUnits.size() && (bytes >> (10 * unit)) >= 1024) ++unit;
  if (unit == 0) return fmt::format("{}", bytes);
  const std::uint64_t one = std::uint64_t{1} << (10 * unit);
  const std::uint64_t whole = bytes / one;
  const std::uint64_t rest = bytes % one;
  const std::uint64_t tenths = whole * 10 + (rest * 10 + one - 1) / one;
  if (tenths < 100) return fmt::format("{}.{}{}", tenths / 10, tenths % 10, kUnits[unit]);
  const std::uint64_t rounded = whole + (rest != 0 ? 1 : 0);
  if (rounded == 1024 && unit + 1 < kUnits.size()) return fmt::format("1.0{}", kUnits[unit + 1]);
  return fmt::format("{}{}", rounded, kUnits[unit]);
}

}  // namespace holdfast::cli
