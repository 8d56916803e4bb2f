#include "filesystem/unit_maker.h"

#include <cerrno>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/windows.h"
#include "mapping/hold.h"

namespace holdfast::filesystem {
namespace {

// Whether somebody may rely on translations that are there.
bool has_windows_that_cannot_wait(Inode& inode) {
  const MutexLock lock(inode.lock);
  return inode.windows != nullptr && !inode.windows->all().calls_wait();
}

void make_one(Inode& inode, PageIndex first) {
  // Inside a Hold the blocks stay the file's, or in quarantine: nobody else's are moved. Test:
  // Units.ABlockIsNobodyElsesWhileAUnitIsMade.
  const auto hold = mapping::Hold::try_enter(inode.mapping, {first, first + kOrder2M.pages()});
  if (!hold) return;
  const std::optional<Run> run = run_of(inode, first, kOrder2M.pages());
  if (!run || !run->pfn.is_aligned(kOrder2M)) return;
  HF_MARK("units.make");
  inode.core.units().make(run->pfn);
}

}  // namespace

UnitMaker::UnitMaker(device::Device& device, Units units) : device_(device), units_(units) {
  const device::Geometry& geometry = device.geometry();
  const bool made_of_pages = geometry.unit_bytes() > geometry.page_bytes;
  possible_ = made_of_pages && !geometry.makes_units && !device.read_only();
}

void UnitMaker::make(Pfn first) {
  if (device_.is_unit(first)) return;
  const Status made = device_.make_unit(first);
  if (made) {
    made_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  switch (made.error().code()) {
    case EAGAIN:
      busy_.fetch_add(1, std::memory_order_relaxed);
      break;
    case ENOMEM:
      memory_.fetch_add(1, std::memory_order_relaxed);
      break;
    case EOPNOTSUPP:
      if (unsupported_.fetch_add(1, std::memory_order_relaxed) + 1 >= kRefusalsMax && count(made_) == 0) {
        possible_.store(false, std::memory_order_relaxed);
      }
      break;
    default:
      failed_.fetch_add(1, std::memory_order_relaxed);
  }
}

UnitAttempts UnitMaker::attempts() const {
  return {count(made_), count(busy_), count(memory_), count(unsupported_), count(failed_)};
}

std::optional<Run> run_of(const Inode& inode, PageIndex first, PageCount count) {
  // acquire: partner is the store in grow_to and take_out.
  const PageIndex file_end = page_after(inode.size.load(std::memory_order_acquire));
  HF_MARK("units.size_known");
  bool unwritten_behind = false;
  Run run;
  for (PageIndex at = first; at < first + count;) {
    const Found found = inode.extents.find(at);
    const bool has_memory = found.kind == Found::Kind::unwritten || found.kind == Found::Kind::written;
    if (!has_memory) return std::nullopt;
    if (at == first) run.pfn = found.pfn;
    if (found.pfn != run.pfn + (at - first)) return std::nullopt;
    if (found.kind == Found::Kind::unwritten && at < file_end) run.written = false;
    if (found.kind == Found::Kind::unwritten && at >= file_end) unwritten_behind = true;
    at += found.count;
  }
  // acquire: as above. Either the file has not grown yet, and will zero these pages (reveal), or we see it here.
  if (unwritten_behind && page_after(inode.size.load(std::memory_order_acquire)) > file_end) run.written = false;
  return run;
}

void make_unit(Inode& inode, PageIndex first) {
  if (inode.core.units().possible()) make_one(inode, first);
}

void make_units(Inode& inode, PageRange range) {
  if (range.empty() || !inode.core.units().wanted() || has_windows_that_cannot_wait(inode)) return;
  for (PageIndex first = range.first.align_down(kOrder2M); first < range.end; first += kOrder2M.pages()) {
    make_one(inode, first);
  }
}

}  // namespace holdfast::filesystem
