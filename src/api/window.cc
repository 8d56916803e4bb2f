#include <holdfast/file.h>
#include <holdfast/filesystem.h>
#include <holdfast/window.h>

#include <cerrno>
#include <utility>

#include "filesystem/pin.h"
#include "filesystem/sync.h"
#include "filesystem/windows.h"
#include "window/registry.h"

namespace holdfast {
namespace {

using filesystem::file_of;
using filesystem::OpenFile;
using window::View;

Error outside(const View& view) {
  return Error(EINVAL, file_of(view).inode->path_hint(), "the range is not inside the window");
}

bool inside(const View& view, std::uint64_t offset, std::uint64_t length) {
  return offset <= view.length() && length <= view.length() - offset;
}

PageRange pages_of(const View& view, std::uint64_t offset, std::uint64_t length) {
  const PageRange touched = pages_touched(offset, length);
  const PageCount first(view.pages().first.raw());
  return {touched.first + first, touched.end + first};
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
  if (file_of(*impl_).core->generation() == fork_generation()) filesystem::unmap(impl_);
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
  HF_TRY(file_of(*impl_).core->usable());
  if (!inside(*impl_, offset, length)) return outside(*impl_);
  if (impl_->faults() == nullptr) return {};
  Status there = impl_->file().populate(*impl_, pages_of(*impl_, offset, length), impl_->access() == Access::write);
  if (!there) return std::move(there).error().about(file_of(*impl_).inode->path_hint());
  return {};
}

Status Window::sync(std::uint64_t offset, std::uint64_t length) {
  HF_TRY(file_of(*impl_).core->usable());
  if (!inside(*impl_, offset, length)) return outside(*impl_);
  return filesystem::sync(*file_of(*impl_).inode, true);
}

Status Window::unmap(std::uint64_t offset, std::uint64_t length) {
  HF_TRY(file_of(*impl_).core->usable());
  const std::uint64_t grain = impl_->grain().bytes();
  if (!inside(*impl_, offset, length) || offset % grain != 0 || length % grain != 0) return outside(*impl_);
  return impl_->file().give_up(*impl_, pages_of(*impl_, offset, length));
}

Result<Window> File::map(std::uint64_t offset, std::uint64_t length, const MapOptions& options) {
  HF_ASSIGN(std::shared_ptr<View> view,
            filesystem::map(impl_, {offset, length, options.access, options.populate, options.faults}));
  return Window(std::move(view), length);
}

Result<Pin> Filesystem::pin_address(const void* address, std::uint64_t length, const PinOptions& options) {
  HF_TRY(core_->usable());
  const auto no_window = [this](int code, const char* reason) { return Error(code, core_->name(), reason); };
  if (length == 0) return no_window(EINVAL, "an empty range");
  // The fast way: what the epoch finds exists until it ends.
  std::uint64_t offset = 0;
  std::shared_ptr<void> kept;
  filesystem::Inode* inode = nullptr;
  {
    const epoch::Guard guard;
    const View* const view = window::find_view(address);
    if (view == nullptr) return no_window(EFAULT, "no window of this pool holds the address");
    const auto inside_view = static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - view->begin());
    OpenFile& file = file_of(*view);
    if (file.core != core_) return no_window(EXDEV, "the address belongs to a window of another pool");
    if (length > view->length() - inside_view) return no_window(EFAULT, "the range reaches past the window");
    if (options.access == Access::write && view->access() != Access::write) {
      return no_window(EACCES, "the window is for reading only");
    }
    const PageRange pages = pages_of(*view, inside_view, length);
    if (view->file().kept(*view, pages).end != pages.end) return no_window(EFAULT, "a part of the range was unmapped");
    inode = &*file.inode;
    offset = view->pages().first.bytes() + inside_view;
    Result<Pin> fast = filesystem::try_pin(*inode, offset, length, options);
    if (fast) return fast;
    kept = view->owner;
  }
  return filesystem::pin(*inode, offset, length, options);
}

}  // namespace holdfast
