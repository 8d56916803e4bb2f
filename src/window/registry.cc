#include "window/registry.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "base/atomic.h"
#include "base/fork.h"
#include "base/mutex.h"

namespace holdfast::window {
namespace {

struct Listed {
  const std::byte* begin;
  const std::byte* end;
  View* view;
};
using List = std::vector<Listed>;  // by address

Atomic<const List*> current;

Mutex& changes() {
  static auto* const mutex = new Mutex(LockRank::leaf);  // never destroyed: windows may end during exit
  return *mutex;
}

// Replaces the list by what `change` makes of a copy; hands the old one back.
template <typename Change>
const List* replace(Change change) {
  const MutexLock lock(changes());
  const List* const old = current.load(std::memory_order_relaxed);
  auto next = old == nullptr ? std::make_unique<List>() : std::make_unique<List>(*old);
  change(*next);
  // release: partner is the load in find_view_in.
  current.store(next->empty() ? nullptr : next.release(), std::memory_order_release);
  return old;
}

}  // namespace

void list_view(View& view) {
  // A child has no windows, and whoever held the mutex is not there.
  [[maybe_unused]] static const bool registered = [] {
    on_fork_in_child([] {
      current.store(nullptr, std::memory_order_relaxed);
      new (&changes()) Mutex(LockRank::leaf);
    });
    return true;
  }();
  const Listed listed{view.begin(), view.begin() + view.length(), &view};
  const List* const old = replace([&listed](List& list) {
    const auto at =
        std::find_if(list.begin(), list.end(), [&](const Listed& other) { return other.begin > listed.begin; });
    list.insert(at, listed);
  });
  if (old != nullptr) epoch::retire(const_cast<List*>(old));  // NOLINT: retire takes what it deletes
}

void unlist_view(const View& view) {
  const List* const old = replace([&view](List& list) {
    list.erase(std::remove_if(list.begin(), list.end(), [&](const Listed& listed) { return listed.view == &view; }),
               list.end());
  });
  epoch::synchronize();
  delete old;
}

bool any_views() {
  // relaxed: who asks for a window of its own has been told of it already.
  return current.load(std::memory_order_relaxed) != nullptr;
}

View* find_view_in(const void* address, std::size_t length) {
  // acquire: partner is the store in replace.
  const List* const list = current.load(std::memory_order_acquire);
  if (list == nullptr) return nullptr;
  const auto* const begin = static_cast<const std::byte*>(address);
  const auto first = std::upper_bound(list->begin(), list->end(), begin,
                                      [](const std::byte* at, const Listed& listed) { return at < listed.end; });
  if (first == list->end() || first->begin >= begin + length) return nullptr;
  return first->view;
}

}  // namespace holdfast::window
