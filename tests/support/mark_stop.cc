#include "support/mark_stop.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/mark.h"

namespace holdfast::test {

// The stops and counts of this process, behind the one handler of marks.
struct MarkStops {
  std::mutex mutex;
  std::vector<MarkStop*> stops;
  std::vector<MarkCount*> counts;

  static MarkStops& instance() {
    static MarkStops* const all = new MarkStops;
    return *all;
  }

  static void reached(void* context, const char* name) {
    auto& all = *static_cast<MarkStops*>(context);
    std::unique_lock lock(all.mutex);
    for (MarkCount* const count : all.counts) {
      if (count->name_ != name) continue;
      ++count->passings_;
      count->changed_.notify_all();
    }
    const auto found = std::find_if(all.stops.begin(), all.stops.end(), [name](const MarkStop* stop) {
      return stop->name_ == name && !stop->stopped_ && !stop->released_;
    });
    if (found != all.stops.end()) (*found)->reached(lock);
  }

  // With the mutex held.
  void install() { mark::set_handler(stops.empty() && counts.empty() ? nullptr : reached, this); }
};

MarkStop::MarkStop(std::string name) : name_(std::move(name)) {
  MarkStops& all = MarkStops::instance();
  const std::lock_guard lock(all.mutex);
  all.stops.push_back(this);
  all.install();
}

MarkStop::~MarkStop() {
  MarkStops& all = MarkStops::instance();
  std::unique_lock lock(all.mutex);
  released_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !stopped_ || left_; });
  all.stops.erase(std::find(all.stops.begin(), all.stops.end(), this));
  all.install();
}

bool MarkStop::wait_until_stopped() {
  std::unique_lock lock(MarkStops::instance().mutex);
  return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return stopped_; });
}

void MarkStop::go_on() {
  const std::lock_guard lock(MarkStops::instance().mutex);
  released_ = true;
  changed_.notify_all();
}

void MarkStop::reached(std::unique_lock<std::mutex>& lock) {
  stopped_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return released_; });
  left_ = true;
  changed_.notify_all();
}

MarkCount::MarkCount(std::string name) : name_(std::move(name)) {
  MarkStops& all = MarkStops::instance();
  const std::lock_guard lock(all.mutex);
  all.counts.push_back(this);
  all.install();
}

MarkCount::~MarkCount() {
  MarkStops& all = MarkStops::instance();
  const std::lock_guard lock(all.mutex);
  all.counts.erase(std::find(all.counts.begin(), all.counts.end(), this));
  all.install();
}

std::uint64_t MarkCount::passings() const {
  const std::lock_guard lock(MarkStops::instance().mutex);
  return passings_;
}

bool MarkCount::wait_until(std::uint64_t passings) {
  std::unique_lock lock(MarkStops::instance().mutex);
  return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return passings_ >= passings; });
}

}  // namespace holdfast::test
