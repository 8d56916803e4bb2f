#include "window/pieces.h"

#include <algorithm>

#include "base/check.h"

namespace holdfast::window {

Pieces::Found Pieces::find(PageIndex index) const {
  HF_CHECK(all_.contains(index), "V1: page {} is outside of [{}, {})", index.raw(), all_.first.raw(), all_.end.raw());
  const auto behind = pieces_.upper_bound(index);
  const auto& [first, stretch] = *std::prev(behind);
  return {{first, stretch.end}, stretch.piece};
}

// Afterwards a piece begins at `at`.
void Pieces::split(PageIndex at) {
  if (at == all_.end) return;
  const auto found = std::prev(pieces_.upper_bound(at));
  if (found->first == at) return;
  pieces_.emplace(at, Stretch{found->second.end, advanced(found->second.piece, at - found->first)});
  found->second.end = at;
}

// Makes the piece that begins at `at` and the one before it one, if they could be.
void Pieces::join(PageIndex at) {
  const auto here = pieces_.find(at);
  if (here == pieces_.end() || here == pieces_.begin()) return;
  const auto before = std::prev(here);
  if (advanced(before->second.piece, here->first - before->first) != here->second.piece) return;
  before->second.end = here->second.end;
  pieces_.erase(here);
}

void Pieces::set(PageRange range, Piece piece) {
  if (range.empty()) return;
  HF_CHECK(all_.first <= range.first && range.end <= all_.end, "V1: [{}, {}) is outside of [{}, {})", range.first.raw(),
           range.end.raw(), all_.first.raw(), all_.end.raw());
  split(range.first);
  split(range.end);
  pieces_.erase(pieces_.lower_bound(range.first), pieces_.lower_bound(range.end));
  pieces_.emplace(range.first, Stretch{range.end, piece});
  join(range.end);
  join(range.first);
}

}  // namespace holdfast::window
