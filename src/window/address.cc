#include "window/address.h"

#include <cerrno>

#include "window/file_windows.h"
#include "window/registry.h"

namespace holdfast::window {

Result<ShownBytes> shown_at(const void* pool, const std::string& name, const void* address, std::uint64_t length,
                            Access access) {
  const auto refused = [&name](int code, const char* reason) { return Error(code, name, reason); };
  if (length == 0) return refused(EINVAL, "an empty range");
  const View* const view = find_view(address);
  if (view == nullptr) return refused(EFAULT, "no window of this pool holds the address");
  if (view->owner->pool() != pool) return refused(EXDEV, "the address belongs to a window of another pool");
  const auto inside = static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - view->begin());
  if (length > view->length() - inside) return refused(EFAULT, "the range reaches past the window");
  if (access == Access::write && view->access() != Access::write) {
    return refused(EACCES, "the window is for reading only");
  }
  const PageRange pages = view->pages_of(inside, length);
  if (view->file().kept(*view, pages).end != pages.end) return refused(EFAULT, "a part of the range was unmapped");
  return ShownBytes{view, view->pages().first.bytes() + inside};
}

}  // namespace holdfast::window
