#include "devdax/core.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/mark.h"
#include "device/copy.h"
#include "device/describe.h"
#include "mapping/hold.h"
#include "pin/report.h"

namespace holdfast::devdax {

using mapping::Hold;
using mapping::Mapping;
using window::Place;

Core::Core(std::unique_ptr<device::Device> device, Order unit)
    : Owner(this),
      id_(pin::new_filesystem_number()),
      unit_(unit),
      name_(device->name()),
      read_only_(device->read_only()),
      device_(std::move(device)),
      window_(device_->window()) {
  size_.store(device_->geometry().size, std::memory_order_relaxed);
}

Result<std::shared_ptr<Core>> Core::start(std::unique_ptr<device::Device> device, Order unit) {
  const std::uint64_t bytes = unit.pages().bytes();
  const device::Geometry& geometry = device->geometry();
  if (geometry.page_bytes > bytes) {
    return Error(EINVAL, device->name(),
                 fmt::format("the carrier maps pages of {}, larger than a unit of {}",
                             device::describe_bytes(geometry.page_bytes), device::describe_bytes(bytes)),
                 "take the carrier's page as the unit");
  }
  if (geometry.size % bytes != 0) {
    return Error(EINVAL, device->name(),
                 fmt::format("{} are no multiple of a unit of {}", device::describe_bytes(geometry.size),
                             device::describe_bytes(bytes)),
                 "take a smaller unit");
  }
  std::unique_ptr<pagemap::PageMap> pages;
  auto* const core = new Core(std::move(device), unit);
  if (auto made = pagemap::PageMap::create(core->device().pages(), &core->keeper_); made) {
    core->pages_ = std::move(made).value();
  } else {
    delete core;
    return std::move(made).error();
  }
  core->mapping_ = std::make_unique<Mapping>(*core->pages_, core->nobody_, pagemap::FileKey{core->id_, 0});
  core->windows_ = std::make_unique<window::FileWindows>(*core, core->device());
  return std::shared_ptr<Core>(core, &Core::abandon);
}

Error Core::usable_error() const {
  if (fork_generation() != generation_) {
    return Error(ECHILD, name_, "opened by the parent of this process", "open it in the child");
  }
  return Error(ENODEV, name_, "the device was removed");
}

// --- what windows show ---

Place Core::place(PageIndex index) const {
  const PageIndex end_now = end();
  if (index >= end_now) return {Place::Kind::past_end, false, {}, kEndOfFile - index};
  return {Place::Kind::block, true, Pfn(index.raw()), end_now - index};
}

std::optional<Core::Grain> Core::whole_grain(PageIndex first, PageCount grain) const {
  if (first + grain > end()) return std::nullopt;
  return Grain{Pfn(first.raw()), true};
}

// Only where a unit of the device is as large: smaller ones are translated one by one, as entries count them. The hold
// keeps the memory where it is.
void Core::make_unit(PageIndex first) {
  if (unit_ < kOrder2M || device_->geometry().page_bytes > kPageBytes) return;
  const auto hold = Hold::try_enter(*mapping_, {first, first + kOrder2M.pages()});
  if (!hold || closed()) return;
  static_cast<void>(device_->make_unit(Pfn(first.raw())));
}

// --- entries ---

bool Core::try_track(PageRange range) {
  const PageRange all = units(range);
  for (PageIndex unit = all.first; unit < all.end; unit += unit_.pages()) {
    if (is_tracked(unit)) continue;
    // The caller's hold may cover less than the unit.
    const auto hold = Hold::try_enter(*mapping_, {unit, unit + unit_.pages()});
    if (!hold || closed()) return false;
    if (!mapping_->insert(unit, Pfn(unit.raw()), unit_, Deadline::at(Nanoseconds(0)))) return false;
  }
  return true;
}

Status Core::track(PageRange range, Access access, Deadline deadline) {
  if (access == Access::write && read_only_) return Error(EROFS, name_, "opened for reading");
  const PageRange all = units(range);
  for (PageIndex unit = all.first; unit < all.end; unit += unit_.pages()) {
    if (is_tracked(unit)) continue;
    const auto hold = Hold::enter(*mapping_, {unit, unit + unit_.pages()}, deadline);
    if (!hold) {
      if (deadline.passed()) return Error(ETIMEDOUT, name_, "the device is being removed");
      return Error(EINTR, name_, "a signal came");
    }
    if (closed()) return usable_error();
    HF_MARK("devdax.held");
    Result<Mapping::InsertOutcome> inserted = mapping_->insert(unit, Pfn(unit.raw()), unit_, deadline);
    if (!inserted && inserted.error().code() == ENODEV) return usable_error();
    if (!inserted) return std::move(inserted).error().about(name_);
    HF_CHECK(*inserted != Mapping::InsertOutcome::conflict, "D6: a unit at {:#x} of {} has smaller entries", unit.raw(),
             name_);
  }
  return {};
}

// --- bytes, for callers whose buffers lie in windows ---

std::size_t Core::held_bytes(std::uint64_t offset, std::size_t length) const {
  const std::uint64_t end_now = shown_end();
  return offset >= end_now ? 0 : std::min<std::uint64_t>(length, end_now - offset);
}

Result<std::size_t> Core::load(std::uint64_t offset, std::span<std::byte> to) {
  const auto hold = Hold::enter(*mapping_, pages_touched(offset, to.size()), Deadline::never());
  if (!hold) return Error(EINTR, name_, "a signal came");
  const std::size_t length = held_bytes(offset, to.size());
  if (length > 0 && device::load(to.data(), window_ + offset, length) != device::CopyOutcome::done) {
    return Error(EIO, name_, fmt::format("the memory from byte {} on cannot be read", offset));
  }
  return length;
}

Result<std::size_t> Core::store(std::uint64_t offset, std::span<const std::byte> from) {
  const auto hold = Hold::enter(*mapping_, pages_touched(offset, from.size()), Deadline::never());
  if (!hold) return Error(EINTR, name_, "a signal came");
  const std::size_t length = held_bytes(offset, from.size());
  if (length > 0 && device::store(window_ + offset, from.data(), length) != device::CopyOutcome::done) {
    return Error(EIO, name_, fmt::format("the memory from byte {} on cannot be written", offset));
  }
  return length;
}

Status Core::sync(PageRange range) {
  const auto hold = Hold::enter(*mapping_, range, Deadline::never());
  if (!hold) return Error(EINTR, name_, "a signal came");
  if (closed()) return usable_error();
  HF_TRY(device_->flush(range.first.bytes(), range.count().bytes()));
  return device_->fence();
}

}  // namespace holdfast::devdax
