// What a window shows where: its pages in pieces, each of one kind.
//
// Invariants
//   V1  pieces cover the window's pages, disjoint and in order; neighbours that could be one are one.
//   V2  `shared` pieces name pages that follow each other on the device as they do in the file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>

#include "base/units.h"

namespace holdfast::window {

enum class Shows : std::uint8_t {
  shared,    // the device's memory, from `pfn` on; translations come with faults and go with zaps
  absent,    // nothing yet: every touch is told
  zeros,     // a hole that was read: reads as zeros, the first store is told
  past_end,  // SIGBUS
  nothing,   // the program unmapped it
};

struct Piece {
  Shows shows = Shows::nothing;
  Pfn pfn;  // of the first page; only `shared`

  bool operator==(const Piece&) const = default;
};

class Pieces {
 public:
  explicit Pieces(PageRange all) : all_(all) { pieces_[all.first] = {all.end, {}}; }

  PageRange all() const { return all_; }
  struct Found {
    PageRange range;
    Piece piece;  // pfn: of range.first
  };
  // The piece that holds the index, which lies in all().
  Found find(PageIndex index) const;
  // Makes the range, which lies in all(), one piece.
  void set(PageRange range, Piece piece);
  // Calls visit(Found) for the parts of the pieces that lie in the range, in order. `visit` changes nothing here.
  template <typename Visit>
  void each(PageRange range, Visit visit) const {
    for (PageIndex at = std::max(range.first, all_.first); at < std::min(range.end, all_.end);) {
      const Found found = find(at);
      const PageRange part{at, std::min({found.range.end, range.end, all_.end})};
      visit(Found{part, advanced(found.piece, at - found.range.first)});
      at = part.end;
    }
  }
  std::size_t count() const { return pieces_.size(); }

 private:
  struct Stretch {
    PageIndex end;
    Piece piece;
  };
  static Piece advanced(Piece piece, PageCount by) {
    if (piece.shows == Shows::shared) piece.pfn += by;
    return piece;
  }
  void split(PageIndex at);
  void join(PageIndex at);

  const PageRange all_;
  std::map<PageIndex, Stretch> pieces_;
};

}  // namespace holdfast::window
