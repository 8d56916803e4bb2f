// The decisions of one schedule, and the way to the next: depth first, the last decision with an alternative left
// first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace holdfast::explore {

class Choices {
 public:
  // Begins a schedule: the decisions up to where the last one was changed are taken again.
  void rewind() { at_ = 0; }
  // One of `count` alternatives, the first by default.
  std::size_t choose(std::size_t count) {
    if (count < 2) return 0;
    if (at_ == made_.size()) made_.push_back({0, count});
    Made& made = made_[at_++];
    // Should a run not go as the last one did, the schedule is another one, but one all the same.
    made.count = count;
    made.taken = std::min(made.taken, count - 1);
    return made.taken;
  }
  // False: there is no other schedule.
  bool advance() {
    made_.resize(std::min(made_.size(), at_));
    while (!made_.empty() && made_.back().taken + 1 == made_.back().count) made_.pop_back();
    if (made_.empty()) return false;
    ++made_.back().taken;
    return true;
  }
  std::size_t count() const { return at_; }

 private:
  struct Made {
    std::size_t taken;
    std::size_t count;
  };
  std::vector<Made> made_;
  std::size_t at_ = 0;
};

}  // namespace holdfast::explore
