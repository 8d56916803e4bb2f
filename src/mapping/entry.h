// The word that a file's tree holds for a page or unit: which page, how large, in what state.
//
//   bits 0..1   01: a value (the tree's own pointers have bit 0 clear)
//   bit  2      LOCKED  one holder; only it changes kind, pfn, flags
//   bits 3..4   size    0: 4 KiB, 1: PMD (2 MiB), 2: PUD (1 GiB)
//   bit  5      ZERO    a hole that readers see as zeros; carries no page
//   bit  6      EMPTY   the fault mutex of an index before its block is known; carries no page
//   bit  7      ZAP     translations are gone and the entry's reference is returned; only with a page
//   bit  8      SHARED  other files may name the page too, so nobody stores to it through this one; only with a page
//   bit  9      CLEAN   nobody can have stored to the page since it was flushed; only with a page, and only where
//                       marks are kept (write_back.cc). Who is to store marks the entry first, which ends that
//   bits 10..   pfn
//
// Invariants
//   E1  EMPTY and ZERO exclude each other and ZAP, and their pfn is never turned into a page.
//   E2  a PMD (PUD) entry starts at a multiple of its size, and so does its page; entries of one file never overlap.
//   E3  LOCKED has at most one holder, and the value stored at unlock is not LOCKED.
//   E4  a real entry that is not ZAP holds exactly one `tracked` count of its unit.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/units.h"

namespace holdfast::mapping {

// Whose a block is, as the format below knows it. `shared` may be said of a block that others have let go of since;
// `own` only of one that no other file has.
enum class Sharing : std::uint8_t { own, shared };

class Entry {
 public:
  constexpr Entry() = default;  // none
  static constexpr Entry from_raw(std::uint64_t raw) {
    Entry entry;
    entry.raw_ = raw;
    return entry;
  }
  static constexpr Entry real(Pfn pfn, Order order, Sharing sharing = Sharing::own) {
    return from_raw(kValue | size_bits(order) | (sharing == Sharing::shared ? kShared : 0) | pfn.raw() << kPfnShift);
  }
  static constexpr Entry empty(Order order) { return from_raw(kValue | kEmpty | size_bits(order)); }
  static constexpr Entry zero(Order order) { return from_raw(kValue | kZero | size_bits(order)); }

  constexpr std::uint64_t raw() const { return raw_; }
  constexpr bool none() const { return raw_ == 0; }
  constexpr bool locked() const { return (raw_ & kLocked) != 0; }
  constexpr bool is_empty() const { return (raw_ & kEmpty) != 0; }
  constexpr bool is_zero() const { return (raw_ & kZero) != 0; }
  constexpr bool zapped() const { return (raw_ & kZap) != 0; }
  constexpr bool shared() const { return (raw_ & kShared) != 0; }
  constexpr bool clean() const { return (raw_ & kClean) != 0; }
  // Whether something has to be done before anybody may store through it: one test for pins.
  constexpr bool refuses_stores() const { return (raw_ & (kShared | kClean)) != 0; }
  constexpr bool has_page() const { return raw_ != 0 && (raw_ & (kEmpty | kZero)) == 0; }
  // A real entry that holds its `tracked` count (E4).
  constexpr bool tracks() const { return (raw_ & (kValue | kEmpty | kZero | kZap)) == kValue; }
  constexpr Order order() const { return Order(static_cast<unsigned>((raw_ >> kSizeShift) & 3U) * 9U); }
  Pfn pfn() const {
    HF_DEBUG_CHECK(has_page(), "E1: pfn of a page-less entry {:#x}", raw_);
    return Pfn(raw_ >> kPfnShift);
  }

  constexpr Entry with_lock() const { return from_raw(raw_ | kLocked); }
  constexpr Entry without_lock() const { return from_raw(raw_ & ~kLocked); }
  constexpr Entry with_zap() const { return from_raw(raw_ | kZap); }
  constexpr Entry without_zap() const { return from_raw(raw_ & ~kZap); }
  constexpr Entry as_shared() const { return from_raw(raw_ | kShared); }
  constexpr Entry as_own() const { return from_raw(raw_ & ~kShared); }
  constexpr Entry as_clean() const { return from_raw(raw_ | kClean); }
  constexpr Entry as_dirty() const { return from_raw(raw_ & ~kClean); }
  constexpr bool operator==(const Entry&) const = default;

 private:
  static constexpr std::uint64_t kValue = 1;
  static constexpr std::uint64_t kLocked = 1U << 2;
  static constexpr unsigned kSizeShift = 3;
  static constexpr std::uint64_t kZero = 1U << 5;
  static constexpr std::uint64_t kEmpty = 1U << 6;
  static constexpr std::uint64_t kZap = 1U << 7;
  static constexpr std::uint64_t kShared = 1U << 8;
  static constexpr std::uint64_t kClean = 1U << 9;
  static constexpr unsigned kPfnShift = 10;
  static constexpr std::uint64_t size_bits(Order order) { return std::uint64_t{order.raw() / 9U} << kSizeShift; }

  std::uint64_t raw_ = 0;
};

}  // namespace holdfast::mapping
