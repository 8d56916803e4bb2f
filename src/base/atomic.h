// The atomics of the protocol code, with a seam through which a test scheduler drives them.
//
// `pagemap`, `mapping` and `layout` use Atomic<T> and never std::atomic, so that a build with HOLDFAST_SCHEDULER can
// stop a thread before each access, choose who goes next and hold stores back in a simulated store buffer. In every
// other build Atomic<T> is std::atomic<T> with no default order: each access says its order and, in a comment where it
// is not relaxed, its partner.
#pragma once

#include <atomic>

#include "base/scheduler.h"

namespace holdfast {

template <typename T>
class Atomic {
 public:
  constexpr Atomic() noexcept : value_(T{}) {}
  constexpr explicit Atomic(T value) noexcept : value_(value) {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load(std::memory_order order) const noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::load);
    return value_.load(order);
  }
  void store(T value, std::memory_order order) noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::store);
    value_.store(value, order);
  }
  T exchange(T value, std::memory_order order) noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::update);
    return value_.exchange(value, order);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order) noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::update);
    return value_.compare_exchange_weak(expected, desired, order, std::memory_order_relaxed);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order order) noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::update);
    return value_.compare_exchange_strong(expected, desired, order, std::memory_order_relaxed);
  }
  T fetch_add(T value, std::memory_order order) noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::update);
    return value_.fetch_add(value, order);
  }
  T fetch_sub(T value, std::memory_order order) noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::update);
    return value_.fetch_sub(value, order);
  }
  T fetch_or(T value, std::memory_order order) noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::update);
    return value_.fetch_or(value, order);
  }
  T fetch_and(T value, std::memory_order order) noexcept {
    scheduler::before_access(&value_, scheduler::AccessKind::update);
    return value_.fetch_and(value, order);
  }

  // The word itself, for futex waits.
  std::atomic<T>& word() noexcept { return value_; }

 private:
  std::atomic<T> value_;
};

}  // namespace holdfast
