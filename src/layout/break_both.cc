#include "layout/break_both.h"

#include <cerrno>
#include <tuple>

#include <fmt/format.h>

#include "base/mark.h"

namespace holdfast::layout {
namespace {

// The same for everybody who breaks two ranges.
auto place_in_order(const BreakTarget& target) {
  const pagemap::FileKey file = target.mapping->file();
  return std::tuple(file.filesystem, file.inode, target.range.first.raw());
}

}  // namespace

Result<std::pair<Break, Break>> break_both(BreakTarget one, BreakTarget other, const BreakOptions& options) {
  const bool swapped = place_in_order(other) < place_in_order(one);
  if (swapped) std::swap(one, other);
  if (one.mapping == other.mapping &&
      one.mapping->round_to_units(one.range).overlaps(one.mapping->round_to_units(other.range))) {
    return Error(EINVAL, fmt::format("inode {}", one.mapping->file().inode), "both ranges lie in one unit",
                 "break the range that holds both");
  }
  for (;;) {
    HF_ASSIGN(Break first, Break::wait(*one.mapping, one.range, options));
    Parker parker;  // before `second`: it is queued here
    Break second = Break::begin(*other.mapping, other.range, options);
    HF_ASSIGN(const Break::Progress progress, second.advance(parker));
    if (progress == Break::Progress::ready) {
      return swapped ? std::pair(std::move(second), std::move(first)) : std::pair(std::move(first), std::move(second));
    }
    HF_MARK("layout.break_both.second_waits");
    { const Break let_go = std::move(first); }
    HF_TRY(second.again_wait());
  }
}

}  // namespace holdfast::layout
