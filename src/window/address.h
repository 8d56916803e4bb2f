// What an address of this process shows: the window's side of a pin by address.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <holdfast/types.h>

#include "base/result.h"
#include "window/owner.h"
#include "window/view.h"

namespace holdfast::window {

struct ShownBytes {
  const View* view = nullptr;
  std::uint64_t offset = 0;  // in what the window shows

  Owner& owner() const { return *view->owner; }
};

// Inside an epoch, in which the view and its owner exist. EINVAL (no bytes), EFAULT (no window holds the address, or
// the range reaches past it or a part that was unmapped), EXDEV (a window of another pool), EACCES (write access
// through a window for reading). `name`: of the pool.
Result<ShownBytes> shown_at(const void* pool, const std::string& name, const void* address, std::uint64_t length,
                            Access access);

}  // namespace holdfast::window
