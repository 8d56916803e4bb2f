#include <holdfast/file.h>
#include <holdfast/filesystem.h>
#include <holdfast/window.h>

#include <cerrno>
#include <utility>

#include "filesystem/pin.h"
#include "filesystem/windows.h"
#include "window/address.h"

namespace holdfast {
namespace {

using window::View;

Error outside(const View& view) { return Error(EINVAL, view.owner->name(), "the range is not inside the window"); }

bool inside(const View& view, std::uint64_t offset, std::uint64_t length) {
  return offset <= view.length() && length <= view.length() - offset;
}

}  // namespace

Window::Window(std::shared_ptr<View> impl, std::uint64_t size) : impl_(std::move(impl)), size_(size) {}
Window::Window(Window&& other) noexcept : impl_(std::move(other.impl_)), size_(std::exchange(other.size_, 0)) {}
Window& Window::operator=(Window&& other) noexcept {
  if (this != &other) {
    close();
    impl_ = std::move(other.impl_);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}
Window::~Window() { close(); }

void Window::close() noexcept {
  if (impl_ == nullptr) return;
  if (!impl_->inherited()) window::FileWindows::end(impl_);
  impl_.reset();
}

std::span<std::byte> Window::bytes() const { return {data(), size_}; }
std::byte* Window::data() const { return impl_ == nullptr ? nullptr : impl_->begin(); }
std::uint64_t Window::size() const { return size_; }
std::uint64_t Window::offset() const { return impl_ == nullptr ? 0 : impl_->pages().first.bytes(); }

Faults Window::faults() const {
  if (impl_ == nullptr || impl_->faults() == nullptr) return Faults::none;
  switch (impl_->faults()->source()) {
    case window::FaultSource::full:
      return Faults::full;
    case window::FaultSource::user_mode:
      return Faults::user_mode;
    case window::FaultSource::in_thread:
      return Faults::in_thread;
  }
  __builtin_unreachable();
}

Status Window::populate(std::uint64_t offset, std::uint64_t length) {
  HF_TRY(impl_->owner->usable());
  if (!inside(*impl_, offset, length)) return outside(*impl_);
  if (impl_->faults() == nullptr) return {};
  Status there = impl_->file().populate(*impl_, impl_->pages_of(offset, length), impl_->access() == Access::write);
  if (!there) HF_TRY(impl_->owner->usable());  // else that is why
  if (!there) return std::move(there).error().about(impl_->owner->name());
  return {};
}

Status Window::sync(std::uint64_t offset, std::uint64_t length) {
  HF_TRY(impl_->owner->usable());
  if (!inside(*impl_, offset, length)) return outside(*impl_);
  return impl_->owner->sync(impl_->pages_of(offset, length));
}

Status Window::unmap(std::uint64_t offset, std::uint64_t length) {
  HF_TRY(impl_->owner->usable());
  const std::uint64_t part = impl_->owner->part();
  if (!inside(*impl_, offset, length) || offset % part != 0 || length % part != 0) return outside(*impl_);
  return impl_->file().give_up(*impl_, impl_->pages_of(offset, length));
}

Result<Window> File::map(std::uint64_t offset, std::uint64_t length, const MapOptions& options) {
  HF_ASSIGN(std::shared_ptr<View> view, filesystem::map(impl_, {offset, length, options.access, options.populate,
                                                                options.faults, options.synchronous}));
  return Window(std::move(view), length);
}

Result<Pin> Filesystem::pin_address(const void* address, std::uint64_t length, const PinOptions& options) {
  HF_TRY(core_->usable());
  window::ShownBytes shown;
  std::shared_ptr<window::Owner> kept;
  filesystem::Inode* inode = nullptr;
  {
    // The fast way: what the epoch finds exists until it ends.
    const epoch::Guard guard;
    HF_ASSIGN(shown, window::shown_at(core_.get(), core_->name(), address, length, options.access));
    inode = &*filesystem::file_of(*shown.view).inode;
    Result<Pin> fast = filesystem::try_pin(*inode, shown.offset, length, options);
    if (fast) return fast;
    kept = shown.view->owner;
  }
  return filesystem::pin(*inode, shown.offset, length, options);
}

}  // namespace holdfast
