// An open file as the owner of its windows: their bytes are read and written as the file's.
#include <cstring>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/pin_track.h"
#include "filesystem/read.h"
#include "filesystem/sync.h"
#include "filesystem/write.h"

namespace holdfast::filesystem {
namespace {

// The end of what a window shows of a file of this size: of the page that holds the file's end.
std::uint64_t end_of_page(const Inode& inode, std::uint64_t size) {
  return round_up(size, inode.core.device().geometry().page_bytes);
}

// Bytes of that page behind the end: they are nobody's, and may be touched.
std::size_t behind_the_end(const Inode& inode, std::uint64_t offset, std::size_t length) {
  // acquire: as in read_held.
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  const std::uint64_t page_end = end_of_page(inode, size);
  return offset < size || offset >= page_end ? 0 : std::min<std::uint64_t>(length, page_end - offset);
}

}  // namespace

std::uint64_t OpenFile::shown_end() const {
  // acquire: as in read_held.
  return end_of_page(*inode, inode->size.load(std::memory_order_acquire));
}

Status OpenFile::sync(PageRange range) { return filesystem::sync(*inode, true, range); }

Result<std::size_t> OpenFile::load(std::uint64_t offset, std::span<std::byte> to) {
  const iovec piece{to.data(), to.size()};
  HF_ASSIGN(const std::size_t got, read(*inode, offset, {&piece, 1}));
  const std::size_t zeros = behind_the_end(*inode, offset + got, to.size() - got);
  std::memset(to.data() + got, 0, zeros);
  return got + zeros;
}

// Holes get blocks, the size stays.
Result<std::size_t> OpenFile::store(std::uint64_t begin, std::span<const std::byte> from) {
  std::size_t done = 0;
  while (done < from.size()) {
    const std::uint64_t offset = begin + done;
    HF_ASSIGN(const std::size_t part, overwrite(*inode, offset, from.subspan(done)));
    done += part;
    if (part > 0) continue;
    HF_MARK("window_memory.absent");
    if (offset < inode->size.load(std::memory_order_acquire)) {  // acquire: as in read_held
      const Status there =
          track(*inode, pages_touched(offset, 1), Access::write, Deadline::never(), Units::as_they_come);
      if (there || there.error().code() == ENXIO) continue;  // ENXIO: cut short meanwhile
      if (done > 0) break;
      return Error(there.error());
    }
    const std::size_t lost = behind_the_end(*inode, offset, from.size() - done);
    done += lost;
    if (lost == 0) break;
  }
  return done;
}

}  // namespace holdfast::filesystem
