#include "filesystem/write.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "base/mark.h"
#include "device/copy.h"
#include "device/device.h"
#include "filesystem/allocation.h"
#include "filesystem/core.h"
#include "filesystem/growth.h"
#include "filesystem/lookup.h"
#include "filesystem/ordered.h"
#include "filesystem/poison.h"
#include "filesystem/read.h"
#include "filesystem/record.h"
#include "filesystem/times.h"
#include "filesystem/unit_maker.h"
#include "filesystem/user_bytes.h"
#include "filesystem/window_memory.h"
#include "layout/lease.h"
#include "mapping/hold.h"

namespace holdfast::filesystem {
namespace {

Error cannot_store(const Inode& inode, std::uint64_t offset) { return memory_failed(inode, offset, "written"); }

mapping::Hold hold_pages(Inode& inode, PageRange range) {
  for (;;) {
    // A signal does not end the wait: a closed gate opens soon.
    if (auto hold = mapping::Hold::enter(inode.mapping, range, Deadline::never())) return std::move(*hold);
  }
}

struct Stored {
  std::size_t done = 0;
  bool failed = false;  // the memory cannot be written
};

// What one hold keeps.
Stored store_held(const Inode& inode, std::uint64_t offset, UserBytes& from, std::size_t at, std::size_t length) {
  Stored stored;
  // acquire: partner is the store in grow_to and take_out. Inside the hold the size does not fall below our pages.
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  while (stored.done < length && offset + stored.done < size) {
    const std::uint64_t begin = offset + stored.done;
    const PageIndex page = page_holding(begin);
    const std::uint64_t inside = begin - page.bytes();
    const Found found = inode.extents.find(page);
    stored.failed = found.kind == Found::Kind::lost;
    if (found.kind != Found::Kind::written) break;
    HF_MARK("write.found");
    const std::uint64_t part =
        std::min({found.count.bytes() - inside, std::uint64_t{length - stored.done}, size - begin});
    device::Device& device = inode.core.device();
    if (!from.store(at + stored.done, device.at(found.pfn) + inside, part) ||
        !persist(device, found.pfn.bytes() + inside, part)) {
      if (learn_of_lost_memory(inode.core)) continue;  // as far as it goes
      stored.failed = true;
      break;
    }
    stored.done += part;
  }
  return stored;
}

// The bytes at the front of [offset, offset + length) that lie in written blocks below the end of the file.
//
// Either/or with a detach that does not wait for us: it marks the hold as overrun before it copies or moves a block,
// and we end the hold by an exchange after our stores. Either it finds the hold gone, and our bytes with it, or we find
// the mark, and the bytes count as not written. Test: Overrun.AWriteInPlaceIsNotLost.
Result<std::size_t> write_in_place(Inode& inode, std::uint64_t offset, UserBytes& from, std::size_t at,
                                   std::size_t length) {
  mapping::Hold hold = hold_pages(inode, pages_touched(offset, length));
  HF_MARK("write.held");
  const Stored stored = store_held(inode, offset, from, at, length);
  if (hold.end()) return std::size_t{0};
  if (stored.failed && stored.done == 0) return cannot_store(inode, offset);
  if (stored.done > 0) note_write(inode);
  return stored.done;
}

// One write to pages that are not there yet, or not all; see write.h.
class FreshWrite {
 public:
  FreshWrite(Inode& inode, std::uint64_t offset, UserBytes& from, std::size_t at, std::size_t length)
      : inode_(inode), from_(from), at_(at), begin_(offset), end_(offset + length) {
    full_begin_ = std::min(round_up(begin_, kPageBytes), end_);
    full_end_ = std::max(round_down(end_, kPageBytes), full_begin_);
    gather(begin_, full_begin_, head_);
    gather(full_end_, end_, tail_);
  }

  // ENOSPC: nothing was written.
  Status run() {
    for (;;) {
      HF_TRY(make_room());
      HF_MARK("write.has_room");
      HF_ASSIGN(const bool copied, copy_whole_pages());
      HF_MARK("write.copied");
      if (!copied) continue;
      HF_ASSIGN(const bool shown, show());
      if (shown) return {};
    }
  }

 private:
  using Part = std::array<std::byte, kPageBytes>;

  PageRange pages() const { return pages_touched(begin_, end_ - begin_); }

  void gather(std::uint64_t begin, std::uint64_t end, Part& part) {
    if (begin < end) from_.gather(at_ + (begin - begin_), part.data(), end - begin);
  }

  // Step 1. Units are made before the pages are touched: then there is one fault for each.
  Status make_room() {
    PageRange came;
    {
      const MutexLock lock(inode_.lock);
      const std::uint64_t size = inode_.attributes.size;
      const Ahead ahead = begin_ <= size && end_ > size ? Ahead::yes : Ahead::no;
      HF_ASSIGN(came, fill_holes(inode_, pages(), ahead));
      removals_ = inode_.removals.load(std::memory_order_relaxed);
    }
    make_units(inode_, came);
    return {};
  }

  // Step 2. False: a page has no block any more.
  Result<bool> copy_whole_pages() {
    unwritten_.clear();
    if (full_begin_ == full_end_) return true;
    const mapping::Hold hold = hold_pages(inode_, {page_holding(full_begin_), page_holding(full_end_)});
    // acquire: partner is the increment before blocks are given away (W3). The hold is published: what has not left
    // by now waits for us, or goes to quarantine.
    if (inode_.removals.load(std::memory_order_acquire) != removals_) return false;
    for (std::uint64_t offset = full_begin_; offset < full_end_;) {
      const PageIndex page = page_holding(offset);
      const Found found = inode_.extents.find(page);
      if (found.kind == Found::Kind::hole || found.kind == Found::Kind::unknown) return false;
      if (found.kind == Found::Kind::lost) return cannot_store(inode_, offset);
      const std::uint64_t part = std::min(found.count.bytes(), full_end_ - offset);
      if (!from_.store(at_ + (offset - begin_), inode_.core.device().at(found.pfn), part)) {
        learn_of_lost_memory(inode_.core);
        return cannot_store(inode_, offset);
      }
      if (found.kind == Found::Kind::written) HF_TRY(persist(inode_.core.device(), found.pfn.bytes(), part));
      offset += part;
      if (found.kind == Found::Kind::unwritten) unwritten_.push_back({page, page_holding(offset)});
    }
    return true;
  }

  // Step 3. False: again from step 1.
  Result<bool> show() {
    const MutexLock lock(inode_.lock);
    if (inode_.removals.load(std::memory_order_relaxed) != removals_) return false;
    for (const PageRange& run : unwritten_) {
      for (PageIndex page = run.first; page < run.end;) {
        HF_ASSIGN(const Found found, locate(inode_, page));
        if (found.kind != Found::Kind::unwritten) return false;
        page += found.count;
      }
    }
    HF_TRY(reveal(inode_, begin_));
    HF_TRY(store_locked(inode_, begin_, std::span(head_).first(full_begin_ - begin_)));
    HF_TRY(store_locked(inode_, full_end_, std::span(tail_).first(end_ - full_end_)));
    for (const PageRange& run : unwritten_) mark_written(inode_, run);
    note_change(inode_);
    inode_.attributes_unrecorded = true;
    HF_TRY(grow_to(inode_, end_));
    HF_TRY(record_if_many(inode_));
    return true;
  }

  Inode& inode_;
  UserBytes& from_;
  const std::size_t at_;
  const std::uint64_t begin_;
  const std::uint64_t end_;
  std::uint64_t full_begin_ = 0;  // whole pages: [full_begin_, full_end_)
  std::uint64_t full_end_ = 0;
  Part head_;  // the bytes before, and when all lies in one page, all of them
  Part tail_;  // the bytes behind
  std::uint64_t removals_ = 0;
  std::vector<PageRange> unwritten_;  // pages that were unwritten when they were copied
};

Result<std::size_t> write_fresh(Inode& inode, std::uint64_t offset, UserBytes& from, std::size_t at,
                                std::size_t length) {
  HF_TRY(layout::recall_for_write(inode.mapping, pages_touched(offset, length)));
  bool made_space = false;
  for (;;) {
    Status written = FreshWrite(inode, offset, from, at, length).run();
    if (written) return length;
    if (written.error().code() != ENOSPC) return std::move(written).error();
    if (!made_space) {
      make_space(inode.core);
      made_space = true;
      continue;
    }
    // Fewer, down to one page.
    const PageRange pages = pages_touched(offset, length);
    if (pages.count() == PageCount(1)) return std::move(written).error();
    const PageIndex middle = pages.first + PageCount(pages.count().raw() / 2);
    length = middle.bytes() - offset;
  }
}

}  // namespace

Result<std::size_t> overwrite(Inode& inode, std::uint64_t offset, std::span<const std::byte> from) {
  const iovec piece{const_cast<std::byte*>(from.data()), from.size()};  // NOLINT: iovec serves both directions
  UserBytes bytes({&piece, 1});
  return write_in_place(inode, offset, bytes, 0, from.size());
}

Status store_locked(Inode& inode, std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const PageIndex page = page_holding(offset);
    const std::uint64_t inside = offset - page.bytes();
    HF_ASSIGN(const Found found, locate(inode, page));
    HF_DEBUG_CHECK(found.kind != Found::Kind::hole, "page {} of inode {} has no block", page.raw(), raw(inode.number));
    if (found.kind == Found::Kind::lost) return cannot_store(inode, offset);
    std::byte* const block = inode.core.device().at(found.pfn);
    const std::size_t part = std::min<std::uint64_t>(found.count.bytes() - inside, bytes.size());
    device::CopyOutcome outcome = device::CopyOutcome::done;
    const PageRange touched = pages_touched(offset, part);
    if (found.kind == Found::Kind::unwritten) {
      const std::uint64_t rest = touched.end.bytes() - (offset + part);
      if (inside > 0) outcome = device::zero(block, inside);
      if (rest > 0 && outcome == device::CopyOutcome::done) outcome = device::zero(block + inside + part, rest);
    }
    if (outcome == device::CopyOutcome::done) outcome = device::store(block + inside, bytes.data(), part);
    if (outcome != device::CopyOutcome::done) {
      learn_of_lost_memory(inode.core);
      return cannot_store(inode, offset);
    }
    if (found.kind == Found::Kind::unwritten) {
      mark_written(inode, touched);
    } else {
      HF_TRY(persist(inode.core.device(), found.pfn.bytes() + inside, part));
    }
    offset += part;
    bytes = bytes.subspan(part);
  }
  return {};
}

Result<std::size_t> write(Inode& inode, std::uint64_t offset, std::span<const iovec> from) {
  HF_TRY(inode.core.writable());
  UserBytes bytes(from);
  if (bytes.overflows()) return Error(EINVAL, inode.path_hint(), "more bytes than a size can say");
  if (bytes.size() == 0) return std::size_t{0};
  if (offset >= kFileBytesMax) return Error(EFBIG, inode.path_hint(), "past the largest size of a file");
  if (in_windows(from)) return write_from_windows(inode, offset, from);
  const std::size_t total = std::min<std::uint64_t>(bytes.size(), kFileBytesMax - offset);
  std::size_t done = 0;
  while (done < total) {
    const std::uint64_t at = offset + done;
    const std::size_t length = std::min<std::uint64_t>(total - done, kBytesAHold - at % kBytesAHold);
    Result<std::size_t> part = write_in_place(inode, at, bytes, done, length);
    if (part && *part == 0) part = write_fresh(inode, at, bytes, done, length);
    if (!part) {
      if (done > 0) break;
      return std::move(part).error();
    }
    done += *part;
  }
  return done;
}

}  // namespace holdfast::filesystem
