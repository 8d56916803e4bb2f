// Whose bytes are pinned: a file, or a raw device as one file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <holdfast/types.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/units.h"
#include "mapping/mapping.h"

namespace holdfast::pin {

// What an attempt looks at. Refers to what it is made of.
class Target {
 public:
  Target(mapping::Mapping& mapping, const Atomic<std::uint64_t>& size, std::byte* window)
      : mapping_(mapping), size_(size), window_(window) {}
  mapping::Mapping& mapping() const { return mapping_; }
  const Atomic<std::uint64_t>& size() const { return size_; }  // bytes; may change while a pin is taken
  std::byte* window() const { return window_; }                // of the device

 private:
  mapping::Mapping& mapping_;
  const Atomic<std::uint64_t>& size_;
  std::byte* window_;
};

// What the slow way asks, with nothing held.
class Source {
 public:
  virtual Target target() = 0;
  virtual std::string name() const = 0;
  // Entries for every page of the range; the error of the pin where there can be none.
  virtual Status track(PageRange range, Access access, Deadline deadline) = 0;

 protected:
  ~Source() = default;
};

}  // namespace holdfast::pin
