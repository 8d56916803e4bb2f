// Which window an address belongs to, for the whole process.
//
// Readers take no lock: they walk an immutable list inside an epoch. Windows come and go under a mutex, and going waits
// for the readers that may have seen them: what an epoch finds exists until the epoch ends.
#pragma once

#include <cstddef>
#include <memory>

#include "base/epoch.h"
#include "window/view.h"

namespace holdfast::window {

void list_view(View& view);
// Afterwards nobody finds it, and nobody who found it is inside an epoch still.
void unlist_view(const View& view);

// Whether there are any.
bool any_views();
// The first view that holds one of the bytes, or nullptr. Inside an epoch.
View* find_view_in(const void* address, std::size_t length);
// The view that holds the address, or nullptr. Inside an epoch.
inline View* find_view(const void* address) { return find_view_in(address, 1); }

// The same for those who stay longer than an epoch.
inline std::shared_ptr<View> find_and_keep_view(const void* address) {
  const epoch::Guard guard;
  View* const view = find_view(address);
  return view == nullptr ? nullptr : view->shared_from_this();
}

}  // namespace holdfast::window
