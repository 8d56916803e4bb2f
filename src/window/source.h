// What windows ask of the file they show. The file system implements it; the window layer knows pages and entries only.
#pragma once

#include <cstdint>
#include <optional>

#include <holdfast/types.h>

#include "base/result.h"
#include "base/units.h"
#include "mapping/mapping.h"

namespace holdfast::window {

struct Place {
  enum class Kind : std::uint8_t {
    unknown,  // the file system has to be asked (learn)
    hole,
    block,     // written or not
    lost,      // a block, or a page of the carrier, whose memory is lost: a bus error
    past_end,  // of the mapping unit that holds the file's last byte
  };
  Kind kind = Kind::unknown;
  bool written = false;  // only `block`; an unwritten one reads as zeros and has to be written before it is shown
  Pfn pfn;               // of the page asked for; only `block`
  PageCount count;       // pages from there on that are alike
};

class FileSource {
 public:
  virtual mapping::Mapping& mapping() const = 0;
  // Lock-free. Stays true while the caller is inside a Hold of the page, or has the file's lock.
  virtual Place place(PageIndex index) const = 0;
  // The page after the last byte. Lock-free.
  virtual PageIndex end() const = 0;
  // For carriers of large pages: the `grain` that begins at `first` lies whole on one page of the carrier. Lock-free.
  struct Grain {
    Pfn pfn;
    bool written;  // as far as the file reaches
  };
  virtual std::optional<Grain> whole_grain(PageIndex first, PageCount grain) const = 0;
  // Inside a Hold of the range, which lies in one 2 MiB unit (or is a larger unit whole): entries for all of it, or
  // false. Never waits, never allocates blocks.
  virtual bool try_track(PageRange range) = 0;
  // The same outside of a Hold: learns, allocates (for `write`), writes zeros to unwritten blocks, waits for gates.
  // ENXIO: the range reaches past the end, or a hole would have to be read; ENOSPC, EIO, EUCLEAN, ENOMEM.
  virtual Status track(PageRange range, Access access) = 0;
  // Before a window that lets stores through shows the range: where marks are kept, its entries are not CLEAN any more.
  // ENOMEM, EINTR.
  virtual Status mark_stores(PageRange /*range*/) { return {}; }
  // Afterwards place(index) is known. EIO, EUCLEAN.
  virtual Status learn(PageIndex index) = 0;
  // The 2 MiB at `first` will be shown whole: the carrier's memory may become one unit of them (up to 5 ms). Existing
  // translations of it may go.
  virtual void make_unit(PageIndex first) = 0;

 protected:
  ~FileSource() = default;
};

}  // namespace holdfast::window
