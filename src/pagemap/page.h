// The descriptor of a page: 16 bytes, all zero for a page that nobody ever used.
//
// Two counts live in it: the page's own (order 0), and room for the count of a larger unit: a 2 MiB unit counts in its
// first page, a 1 GiB unit in its second. Each count is one 32-bit word of separate facts:
//
//   bits  0..21  pins      references for I/O
//   bits 22..28  tracked   entries of this order that name the unit and are not ZAP
//   bit  29      break     a break waits for this unit: no new pin
//   bit  30      waiters   someone sleeps until the next unpin, which clears the bit and wakes
//   bit  31      moved     flips whenever the owner changes while references exist (set_owner)
//
// A unit's owner and index lie in the descriptor that holds its count. So a unit and the page in whose descriptor it
// counts share one owner; while both have references they belong to one file, or are shared and have none.
//
// Invariants
//   P1  pins and tracked never wrap: a step that would refuses (EAGAIN, EMLINK) and changes nothing.
//   P2  a pin is counted only where tracked > 0 and break is clear, in one atomic step.
//   P3  refcount(unit) = pins + tracked; 0 -> 1 takes a reference on the device and 1 -> 0 gives it back, here only.
//   P4  a page is idle when the pins of its page count and of each unit that contains it are 0.
//   P5  owner (mapping id) and index are set before tracked becomes 1 and are read only while refcount > 0.
#pragma once

#include <cstdint>

#include "base/atomic.h"
#include "base/units.h"

namespace holdfast::pagemap {

// Names a mapping without keeping it alive; 0 is none. Looked up in the pagemap's owner table.
using OwnerId = std::uint32_t;
// Of a page that several files share: whoever has to hear of its last put makes itself the owner (set_owner).
inline constexpr OwnerId kNoOwner = 0;

struct CountWord {
  static constexpr std::uint32_t kPinUnit = 1;
  static constexpr std::uint32_t kPinMask = (1U << 22) - 1;
  static constexpr std::uint32_t kTrackedUnit = 1U << 22;
  static constexpr std::uint32_t kTrackedMask = 0x7FU << 22;
  static constexpr std::uint32_t kBreak = 1U << 29;
  static constexpr std::uint32_t kWaiters = 1U << 30;
  static constexpr std::uint32_t kMoved = 1U << 31;

  std::uint32_t raw = 0;

  constexpr std::uint32_t pins() const { return raw & kPinMask; }
  constexpr std::uint32_t tracked() const { return (raw & kTrackedMask) >> 22; }
  constexpr std::uint32_t refcount() const { return pins() + tracked(); }
  constexpr bool breaking() const { return (raw & kBreak) != 0; }
  constexpr bool has_waiters() const { return (raw & kWaiters) != 0; }
};

struct Page {
  Atomic<std::uint32_t> own_count;
  Atomic<std::uint32_t> unit_count;
  Atomic<std::uint32_t> owner;  // OwnerId
  Atomic<std::uint32_t> index;  // page of the owner's file (ext4 files have at most 2^32)
};
static_assert(sizeof(Page) == 16, "a descriptor is at most 16 bytes");

}  // namespace holdfast::pagemap
