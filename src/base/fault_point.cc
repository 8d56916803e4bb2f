#include "base/fault_point.h"

#include <map>
#include <mutex>
#include <string>

namespace holdfast::fault_point {
namespace {

struct Arming {
  unsigned countdown;
  unsigned failures;
};

struct Armed {
  std::mutex mutex;
  std::map<std::string, Arming, std::less<>> points;
};

Armed& armed() {
  static Armed instance;
  return instance;
}

}  // namespace

namespace detail {

std::atomic<bool> any_armed{false};

bool fails(std::string_view name) {
  const std::lock_guard lock(armed().mutex);
  const auto found = armed().points.find(name);
  if (found == armed().points.end()) return false;
  Arming& arming = found->second;
  if (arming.countdown > 1) {
    --arming.countdown;
    return false;
  }
  if (--arming.failures == 0) armed().points.erase(found);
  return true;
}

}  // namespace detail

void arm(std::string_view name, unsigned countdown, unsigned failures) {
  const std::lock_guard lock(armed().mutex);
  armed().points.insert_or_assign(std::string(name), Arming{countdown, failures});
  detail::any_armed.store(true, std::memory_order_relaxed);
}

void disarm_all() {
  const std::lock_guard lock(armed().mutex);
  armed().points.clear();
  detail::any_armed.store(false, std::memory_order_relaxed);
}

}  // namespace holdfast::fault_point
