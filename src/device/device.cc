#include "device/device.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/masked.h"
#include "base/trace.h"
#include "device/copy.h"
#include "device/describe.h"
#include "device/device_lock.h"
#include "device/device_parts.h"
#include "device/persist.h"
#include "device/unit_probe.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // kernel 6.1; missing in glibc 2.36
#endif

namespace holdfast::device {
namespace {

// A range is the caller's arithmetic on pages of this device: a wrong one is a mistake, not bad input.
void check_range(const Geometry& geometry, std::uint64_t offset, std::uint64_t length) {
  HF_CHECK(offset <= geometry.size && length <= geometry.size - offset, "device range [{}, +{}) is not inside {} bytes",
           offset, length, geometry.size);
}

// MADV_COLLAPSE, unless the environment asks to do without (HOLDFAST_MASK=collapse): an errno value or 0. A page that
// another processor holds for a moment (its batch of pages new to the lists, say) is tried again; one that a device
// holds, in vain.
int collapse(std::byte* unit, std::size_t length) {
  static const bool without = masked("collapse");
  if (without) return EINVAL;
  constexpr int kTries = 4;
  for (int left = kTries;;) {
    if (madvise(unit, length, MADV_COLLAPSE) == 0) return 0;
    const int code = errno;
    if (--left == 0 || (code != EAGAIN && code != EBUSY)) return code;
  }
}

}  // namespace

const char* to_string(Kind kind) {
  switch (kind) {
    case Kind::memory:
      return "memory";
    case Kind::tmpfs_file:
      return "tmpfs file";
    case Kind::hugetlb_file:
      return "hugetlb file";
    case Kind::disk_file:
      return "disk file";
    case Kind::devdax:
      return "devdax";
  }
  return "unknown";
}

Device::Device() = default;

Device::~Device() { close(); }

void Device::close() {
  if (parts_ == nullptr) return;
  HF_TRACE1(device_close, name_.c_str());
  if (parts_->is_inherited()) {
    if (parts_->window != nullptr) parts_->window->forget();
  } else if (!identity_.still_names_it()) {
    parts_->file.release();  // whatever the number names now, it is not ours to close
  } else if (parts_->locked) {
    // Said aloud, because a child that was forked and lives on shares the descriptor, and with it the lock.
    unlock_device(fd_);
  }
  parts_.reset();
  window_ = nullptr;
  fd_ = -1;
}

Status Device::check_changeable(const char* what) const {
  if (read_only_) return Error(EROFS, name_, fmt::format("cannot {}: opened read-only", what));
  if (parts_->is_inherited()) {
    return Error(ECHILD, name_,
                 fmt::format("cannot {}: it belongs to the parent process, which opened it before fork", what),
                 "open it in the process that uses it");
  }
  return {};
}

Status Device::reserve(Pfn first, PageCount count) {
  check_range(geometry_, first.bytes(), count.bytes());
  if (HF_FAULT_POINT("device.reserve")) {
    return Error(ENOSPC, name_, fmt::format("cannot allocate {} (fault point)", describe_bytes(count.bytes())));
  }
  Backing* backing = parts_->backing.get();
  if (backing != nullptr && backing->is_reserved(first.bytes(), count.bytes()) && !parts_->is_inherited()) return {};
  HF_TRY(check_changeable("allocate space"));
  return backing == nullptr ? Status() : backing->reserve(first.bytes(), count.bytes());
}

bool Device::give_back(Pfn first, PageCount count) {
  check_range(geometry_, first.bytes(), count.bytes());
  if (parts_->backing == nullptr || parts_->is_inherited()) return false;
  return parts_->backing->give_back(first.bytes(), count.bytes());
}

bool Device::lose(Pfn first, PageCount count) {
  check_range(geometry_, first.bytes(), count.bytes());
  const std::uint64_t page = geometry_.page_bytes / kPageBytes;
  const Pfn begin(round_down(first.raw(), page));
  const Pfn end(round_up((first + count).raw(), page));
  const bool news = poison_.add({begin, end - begin});
  if (news) HF_TRACE2(device_lose, begin.raw(), end.raw());
  return news;
}

bool Device::learn_of(const BusError& met) {
  const bool ours = met.address >= window_ && met.address < window_ + geometry_.size;
  if (!ours || !(met.memory_lost || HF_FAULT_POINT("device.memory_lost"))) return false;
  const bool news = lose(Pfn(static_cast<std::uint64_t>(met.address - window_) / kPageBytes), PageCount(1));
  if (news && on_news_) on_news_();
  return news;
}

bool Device::is_unit(Pfn first) const {
  const std::uint64_t bytes = kOrder2M.pages().bytes();
  if (geometry_.page_bytes >= bytes) return true;
  if (geometry_.unit_bytes() < bytes || parts_->is_inherited()) return false;
  if (parts_->backing == nullptr) return is_translated_as_unit(at(first)).value_or(geometry_.makes_units);
  const std::uint64_t chunk = first.bytes() / bytes;
  if (parts_->backing->unit(chunk) == Backing::Unit::unknown) {
    const std::optional<bool> translated = is_translated_as_unit(at(first));
    if (!translated) return geometry_.makes_units;  // nobody knows; another time perhaps
    parts_->backing->note_unit(chunk, *translated);
  }
  return parts_->backing->unit(chunk) == Backing::Unit::whole;
}

Status Device::make_unit(Pfn first) {
  HF_TRY(check_changeable("make a 2 MiB unit"));
  const PageCount pages = kOrder2M.pages();
  if (!first.is_aligned(kOrder2M) || first + pages > Pfn(this->pages().raw())) {
    return Error(EINVAL, name_, fmt::format("page {} does not begin a whole unit of 2 MiB", first.raw()));
  }
  if (geometry_.page_bytes >= pages.bytes()) return {};
  if (geometry_.unit_bytes() < pages.bytes()) {
    return Error(EOPNOTSUPP, name_, fmt::format("a {} has no units of 2 MiB", to_string(geometry_.kind)),
                 "use memory, tmpfs or hugetlb for huge translations");
  }
  HF_TRY(reserve(first, pages));
  const int code = HF_FAULT_POINT("device.make_unit") ? ENOMEM : collapse(at(first), pages.bytes());
  if (code == 0) {
    parts_->backing->note_unit(first.bytes() / pages.bytes(), true);
    return {};
  }
  HF_TRACE2(device_make_unit_failed, first.raw(), code);
  switch (code) {
    case EINVAL:
      return Error(EOPNOTSUPP, name_,
                   "the kernel does not make units of 2 MiB (MADV_COLLAPSE needs 6.1 and huge pages)",
                   "use hugetlb, or a kernel with CONFIG_TRANSPARENT_HUGEPAGE");
    case EAGAIN:
    case EBUSY:
      return Error(EAGAIN, name_, "pages of the unit are in use by the kernel or a device now", "try again later");
    case ENOMEM:
      return Error(ENOMEM, name_, "no 2 MiB of contiguous memory are free", "free memory, or use hugetlb");
    default:
      return failed(code, name_, "cannot make a 2 MiB unit");
  }
}

Status Device::flush(std::uint64_t device_offset, std::uint64_t length) {
  check_range(geometry_, device_offset, length);
  if (HF_FAULT_POINT("device.flush")) {
    return Error(EIO, name_, fmt::format("cannot write {} (fault point)", describe_bytes(length)));
  }
  if (parts_->durability != nullptr) {
    HF_TRY(check_changeable("flush"));
    parts_->durability->flush(device_offset, length);
  } else if (geometry_.survives_reboot && !read_only_) {
    flush_lines(at(device_offset), length);
  }
  return {};
}

Status Device::fence() {
  if (HF_FAULT_POINT("device.fence")) return Error(EIO, name_, "cannot wait for what was written (fault point)");
  if (parts_->durability != nullptr) {
    HF_TRY(check_changeable("fence"));
    return parts_->durability->fence();
  }
  // On volatile carriers this orders stores like on persistent ones, and no more.
  drain();
  return {};
}

}  // namespace holdfast::device
