#include "window/view.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <vector>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/fork.h"
#include "base/mark.h"
#include "base/wait_queue.h"
#include "device/address_space.h"
#include "device/describe.h"
#include "device/sanitizer.h"
#include "window/mapping_reserve.h"
#include "window/past_end.h"

namespace holdfast::window {
namespace {

// Newer than the headers of Debian 12.
constexpr int kDontneedLocked = 24;
constexpr int kCollapse = 25;

std::atomic<std::size_t> mappings{0};

// Pages that stay in a file stay there; anonymous ones are gone.
void drop_translations(std::byte* at, std::size_t length) {
  if (madvise(at, length, MADV_DONTNEED) == 0) return;
  HF_CHECK(errno == EINVAL && madvise(at, length, kDontneedLocked) == 0, "translations at {} cannot be removed: {}",
           static_cast<void*>(at), device::describe_errno(errno));
}

}  // namespace

bool can_be_watched(const device::Device& device) {
  switch (device.geometry().kind) {
    case device::Kind::memory:
    case device::Kind::tmpfs_file:
    case device::Kind::hugetlb_file:
      return !device.read_only();
    case device::Kind::disk_file:
    case device::Kind::devdax:
      return false;
  }
  return false;
}

std::size_t mappings_in_use() { return mappings.load(std::memory_order_relaxed); }

std::size_t mappings_limit() {
  static const std::size_t limit = [] {
    std::size_t most = 65530;
    std::ifstream("/proc/sys/vm/max_map_count") >> most;
    return most / 10 * 9;
  }();
  return limit;
}

Result<std::shared_ptr<View>> View::create(FileWindows& file, device::Device& device, const Userfaultfd* faults,
                                           PageRange pages, Access access) {
  if (!fill_mapping_reserve()) {
    return Error(ENOMEM, device.name(), "the process has too many mappings for a window", "raise vm.max_map_count");
  }
  if (const int code = prepare_past_end(); code != 0) {
    return Error(code, device.name(), "the memory past the end of files cannot be made",
                 code == EMFILE ? "raise ulimit -n" : "");
  }
  const std::uint64_t grain = device.geometry().page_bytes;
  const std::size_t alignment = std::max<std::size_t>(grain, 2 * MiB);
  const std::size_t length = pages.count().bytes();
  std::byte* const begin =
      HF_FAULT_POINT("window.reserve") ? nullptr : device::reserve_addresses(length, alignment, pages.first.bytes());
  if (begin == nullptr) {
    return Error(ENOMEM, device.name(), fmt::format("no room for a window of {}", device::describe_bytes(length)),
                 "map less, or raise ulimit -v");
  }
  return std::shared_ptr<View>(new View(file, device, faults, pages, access, begin, PageCount(grain / kPageBytes)));
}

View::View(FileWindows& file, device::Device& device, const Userfaultfd* faults, PageRange pages, Access access,
           std::byte* begin, PageCount grain)
    : file_(file),
      device_(device),
      faults_(faults),
      access_(access),
      watches_device_(faults != nullptr && can_be_watched(device)),
      grain_(grain),
      begin_(begin),
      generation_(fork_generation()),
      pieces_(pages),
      bus_errors_(begin, pages.count().bytes()) {
  mappings.fetch_add(pieces_.count(), std::memory_order_relaxed);
}

View::~View() {
  mappings.fetch_sub(pieces_.count(), std::memory_order_relaxed);
  // A forked child has no windows; the addresses may be somebody else's.
  if (!inherited()) device::release_addresses(begin_, length());
}

void View::show_nothing() { must_show(pages(), {Shows::nothing, {}}); }

int View::protection() const { return access_ == Access::write ? PROT_READ | PROT_WRITE : PROT_READ; }

// Prepares a mapping elsewhere and moves it onto its place: until then nobody can touch it, afterwards it is whole.
// `prepare` makes it at the address that it gets, and registers it.
template <typename Prepare>
int View::move_in(std::byte* at, std::size_t length, Prepare prepare) {
  if (!published_) {
    const int code = prepare(at);
    return code != 0 ? code : device::keep_private(at, length);
  }
  const std::size_t alignment = std::max<std::size_t>(grain_.bytes(), length >= 2 * MiB ? 2 * MiB : kPageBytes);
  std::byte* const aside = device::reserve_addresses(length, alignment, reinterpret_cast<std::uintptr_t>(at));
  if (aside == nullptr) return errno;
  int code = prepare(aside);
  if (code == 0) code = device::keep_private(aside, length);
  HF_MARK("window.prepared");
  if (code == 0 && mremap(aside, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) code = errno;
  if (code != 0) device::release_addresses(aside, length);
  return code;
}

int View::put_shared(std::byte* at, std::size_t length, Pfn pfn) {
  const auto map = [this, length, pfn](std::byte* where) {
    const auto offset = static_cast<off_t>(pfn.bytes());
    // Before, as a part that is mapped in place can be touched at once; and after, lest the program has closed it
    // between the two.
    device_.identity().check(device_.name());
    void* const mapped =
        device::sanitizer::map_over(where, length, protection(), MAP_SHARED | MAP_FIXED, device_.fd(), offset);
    const int code = mapped == MAP_FAILED ? errno : 0;
    device_.identity().check(device_.name());
    return code;
  };
  if (!watches_device_) {
    // Every page is tracked: the kernel may fill it at will.
    const int code = map(at);
    return code != 0 ? code : device::keep_private(at, length);
  }
  return move_in(at, length, [this, length, &map](std::byte* where) {
    int code = map(where);
    if (code == 0) code = faults_->watch_shared(where, length);
    // mlockall(MCL_FUTURE) brings pages as soon as they are mapped: before anybody watched.
    if (code == 0) drop_translations(where, length);
    return code;
  });
}

int View::put_anonymous(std::byte* at, std::size_t length, Shows shows) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  const auto map = [](std::byte* where, std::size_t bytes, int allowed) {
    return device::sanitizer::map_over(where, bytes, allowed, kFlags, -1, 0) == MAP_FAILED ? errno : 0;
  };
  if (shows == Shows::nothing) return map(at, length, PROT_NONE);
  if (faults_ == nullptr) {
    HF_CHECK(shows == Shows::zeros, "a window without faults shows what is not there");
    const int code = map(at, length, PROT_READ);
    return code != 0 ? code : device::keep_private(at, length);
  }
  return move_in(at, length, [&](std::byte* where) {
    if (const int code = map(where, length, protection()); code != 0) return code;
    if (shows == Shows::zeros) return faults_->arm_zeros(where, length);
    const int code = faults_->watch_absent(where, length);
    if (code == 0) drop_translations(where, length);  // as above
    return code;
  });
}

int View::put(PageRange range, Piece piece) {
  std::byte* const at = address(range.first);
  const std::size_t length = range.count().bytes();
  if (HF_FAULT_POINT("window.show")) return ENOMEM;
  switch (piece.shows) {
    case Shows::shared:
      return put_shared(at, length, piece.pfn);
    case Shows::past_end:
      return show_past_end(at, length);
    case Shows::absent:
    case Shows::zeros:
    case Shows::nothing:
      return put_anonymous(at, length, piece.shows);
  }
  return EINVAL;
}

Status View::show(PageRange range, Piece piece) {
  if (range.empty()) return {};
  const bool too_near = published_ && (mappings_in_use() + 2 > mappings_limit() || !fill_mapping_reserve());
  int code = too_near ? ENOMEM : 0;
  if (code == 0) code = put(range, piece);
  if (code != 0) {
    return Error(code, device_.name(),
                 fmt::format("a window cannot change {}: {}", device::describe_bytes(range.count().bytes()),
                             device::describe_errno(code)),
                 code == ENOMEM ? "raise vm.max_map_count, or map fewer and larger ranges" : "");
  }
  note(range, piece);
  return {};
}

void View::remove_translations(PageRange range) {
  HF_MARK("window.zap");
  drop_translations(address(range.first), range.count().bytes());
}

std::vector<PageRange> View::shared_parts(PageRange range) const {
  std::vector<PageRange> parts;
  pieces_.each(round_out(range, grain_), [&parts](const Pieces::Found& part) {
    if (part.piece.shows == Shows::shared) parts.push_back(part.range);
  });
  return parts;
}

void View::zap(PageRange range) {
  for (const PageRange part : shared_parts(range)) {
    if (watches_device_) {
      remove_translations(part);
    } else if (faults_ != nullptr) {
      must_show(part, {Shows::absent, {}});
    }
  }
}

void View::must_show(PageRange range, Piece piece) {
  const bool spends = put(range, piece) != 0;
  if (spends) {
    spend_mapping_reserve();
    if (put(range, piece) != 0) {
      // A bus error is not what the program expects, but nothing of another file is shown. Whole pieces are replaced
      // one by one: that needs no mapping more than there are.
      piece = {Shows::past_end, {}};
      range = {pieces_.find(range.first).range.first, pieces_.find(range.end - PageCount(1)).range.end};
      HF_CHECK(put(range, piece) == 0, "a window of {} cannot be taken away", device_.name());
    }
  }
  note(range, piece);
  if (spends) fill_mapping_reserve();
}

void View::note(PageRange range, Piece piece) {
  const std::size_t before = pieces_.count();
  pieces_.set(range, piece);
  mappings.fetch_add(pieces_.count() - before, std::memory_order_relaxed);
  if (published_) wake(range);
}

int View::install(PageRange range, bool as_unit) {
  std::byte* const at = address(range.first);
  const std::size_t length = range.count().bytes();
  if (as_unit && grain_ == PageCount(1) && madvise(at, length, kCollapse) == 0) {
    faults_->wake(at, length);
    return 0;
  }
  return faults_->resume(at, length, grain_.bytes());
}

void View::wake(PageRange range) const {
  if (faults_ != nullptr) faults_->wake(address(range.first), range.count().bytes());
}

View::Use::Use(View& view) : view_(view) {
  view.users_.fetch_add(1, std::memory_order_seq_cst);
  granted_ = !view.closing_.load(std::memory_order_seq_cst);
}

View::Use::~Use() {
  // The server's shared pointer keeps the view itself.
  if (view_.users_.fetch_sub(1, std::memory_order_seq_cst) == 1 && view_.closing_.load(std::memory_order_seq_cst)) {
    holdfast::wake(&view_.users_);
  }
}

void View::close() {
  closing_.store(true, std::memory_order_seq_cst);
  HF_MARK("window.closing");
  const auto nobody = [this] { return users_.load(std::memory_order_seq_cst) == 0; };
  while (!nobody()) static_cast<void>(wait_until(&users_, Deadline::never(), nobody));
}

}  // namespace holdfast::window
