// A variable of a program that its threads share: what a check of theirs looks at is an access like those of the code,
// or the explorer would take schedules for the same that the check tells apart. It flushes no store buffer.
#pragma once

#include "base/scheduler.h"

namespace holdfast::explore {

template <typename T>
class Shadow {
 public:
  Shadow() = default;
  Shadow(T value) : value_(value) {}  // NOLINT(google-explicit-constructor): stands where a T would

  operator T() const {  // NOLINT(google-explicit-constructor)
    scheduler::before_access(&value_, scheduler::AccessKind::load);
    return value_;
  }
  T operator=(T value) {  // NOLINT(misc-unconventional-assign-operator)
    scheduler::before_access(&value_, scheduler::AccessKind::store);
    return value_ = value;
  }
  T operator++() { return add(1); }
  T operator--() { return add(-1); }

  // Looks and changes in one step.
  template <typename Change>
  auto update(Change change) {
    scheduler::before_access(&value_, scheduler::AccessKind::store);
    return change(value_);
  }

 private:
  T add(T value) {
    scheduler::before_access(&value_, scheduler::AccessKind::store);
    return value_ += value;
  }

  T value_{};
};

}  // namespace holdfast::explore
