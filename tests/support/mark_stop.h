// Stops a thread at a test mark, so that a race is decided the way a test wants it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

namespace holdfast::test {

// The first thread that reaches the mark after construction stops there until go_on() (or the end of this object);
// later passings are counted and go through. Several objects may live at once, with different names.
class MarkStop {
 public:
  explicit MarkStop(std::string name);
  ~MarkStop();
  MarkStop(const MarkStop&) = delete;
  MarkStop& operator=(const MarkStop&) = delete;

  // False: nobody came within ten seconds (a failure of the test, not a measure of time).
  bool wait_until_stopped();
  void go_on();

 private:
  friend struct MarkStops;
  void reached(std::unique_lock<std::mutex>& lock);

  const std::string name_;
  std::condition_variable changed_;
  bool stopped_ = false;
  bool released_ = false;
  bool left_ = false;
};

// Counts the passings of a mark.
class MarkCount {
 public:
  explicit MarkCount(std::string name);
  ~MarkCount();
  MarkCount(const MarkCount&) = delete;
  MarkCount& operator=(const MarkCount&) = delete;

  std::uint64_t passings() const;
  // False: the mark was not passed so often within ten seconds (a failure of the test, not a measure of time).
  bool wait_until(std::uint64_t passings);

 private:
  friend struct MarkStops;
  const std::string name_;
  std::condition_variable changed_;
  std::uint64_t passings_ = 0;
};

}  // namespace holdfast::test
