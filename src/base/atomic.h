// The atomics of the protocol code, with a seam through which a test scheduler drives them.
//
// `pagemap`, `mapping` and `layout` use Atomic<T> and never std::atomic, so that a build with HOLDFAST_SCHEDULER can
// stop a thread before each access, choose who goes next and hold stores back in a simulated store buffer. In every
// other build Atomic<T> is std::atomic<T> with no default order: each access says its order and, in a comment where it
// is not relaxed, its partner.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

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
#if defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER
    if (std::uint64_t bits = 0; scheduler::own_store(&value_, bits)) return from_bits(bits);
#endif
    return value_.load(order);
  }
  void store(T value, std::memory_order order) noexcept {
    const bool at_once = order == std::memory_order_seq_cst;
    scheduler::before_access(&value_, at_once ? scheduler::AccessKind::update : scheduler::AccessKind::store);
#if defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER
    if (!at_once && scheduler::hold_back(&value_, to_bits(value), commit)) return;
#endif
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
#if defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  static std::uint64_t to_bits(T value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
  }
  static T from_bits(std::uint64_t bits) {
    T value{};
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  static void commit(void* word, std::uint64_t bits) {
    static_cast<std::atomic<T>*>(word)->store(from_bits(bits), std::memory_order_seq_cst);
  }
#endif

  std::atomic<T> value_;
};

}  // namespace holdfast
