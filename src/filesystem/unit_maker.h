// Asks the kernel for units of 2 MiB where the carrier keeps small pages, and counts what becomes of it.
//
// Who pays (0.7 ms a unit, 4 ms in memory that a hypervisor has to find first): whoever's call gives a file all blocks
// of a unit. An allocate or a large write pays for all of its units, and has it back in page faults; appends once for
// each 2 MiB; populate for what was refused before. Small files, whose blocks share units, pay nothing, and so does
// a fault.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include <holdfast/units.h>

#include "device/device.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

class UnitMaker {
 public:
  UnitMaker(device::Device& device, Units units);

  // False: this carrier makes none, needs nobody to, or was given up on.
  bool possible() const { return possible_.load(std::memory_order_relaxed); }
  // Whether whoever brings blocks shall make units of them.
  bool wanted() const { return units_ == Units::make && possible(); }
  // Of the 2 MiB at `first`, unless they are one. Their memory stays where it is for files, but not for translations:
  // windows fault again.
  void make(Pfn first);
  UnitAttempts attempts() const;

 private:
  // A kernel that has refused so many, and made none, makes none.
  static constexpr std::uint64_t kRefusalsMax = 16;
  using Counter = std::atomic<std::uint64_t>;
  static std::uint64_t count(const Counter& counter) { return counter.load(std::memory_order_relaxed); }

  device::Device& device_;
  const Units units_;
  std::atomic<bool> possible_;
  Counter made_{0};
  Counter busy_{0};
  Counter memory_{0};
  Counter unsupported_{0};
  Counter failed_{0};
};

// Blocks of [first, first + count) that follow each other on the device.
struct Run {
  Pfn pfn;
  bool written = true;  // as far as the file reaches
};
// nullopt: they do not, or some are missing. What it says stays true as ExtentCache::find's. Lock-free.
std::optional<Run> run_of(const Inode& inode, PageIndex first, PageCount count);

// Makes the units of the file that overlap the range and are whole. No lock is held. Not where a window would lose
// translations that system calls need (Faults::user_mode).
void make_units(Inode& inode, PageRange range);
// The same of one, whatever the mount says; for populate.
void make_unit(Inode& inode, PageIndex first);

}  // namespace holdfast::filesystem
