#include "base/mark.h"

#include <mutex>

namespace holdfast::mark {
namespace {

struct Installed {
  std::mutex mutex;
  Handler handler = nullptr;
  void* context = nullptr;
};

Installed& installed() {
  static Installed instance;
  return instance;
}

}  // namespace

namespace detail {

std::atomic<bool> armed{false};

void reached(const char* name) {
  Handler handler = nullptr;
  void* context = nullptr;
  {
    const std::lock_guard lock(installed().mutex);
    handler = installed().handler;
    context = installed().context;
  }
  if (handler != nullptr) handler(context, name);
}

}  // namespace detail

void set_handler(Handler handler, void* context) {
  const std::lock_guard lock(installed().mutex);
  installed().handler = handler;
  installed().context = context;
  detail::armed.store(handler != nullptr, std::memory_order_relaxed);
}

}  // namespace holdfast::mark
