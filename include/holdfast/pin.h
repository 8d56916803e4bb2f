// Pin: a hold for I/O. While it lives, its pages' storage stays where it is: no truncate, punch, unlink, eviction or
// unmount gives a block away that a pin holds.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <holdfast/error.h>
#include <holdfast/types.h>

namespace holdfast {

inline constexpr std::chrono::nanoseconds kForever = std::chrono::nanoseconds::max();

// Why a pin is held, as people will read it ("nic read"). A string literal costs nothing; other text is interned once
// and kept for the life of the process.
class Purpose {
 public:
  constexpr Purpose() = default;
  template <std::size_t N>
  consteval Purpose(const char (&literal)[N]) : text_(literal) {}  // NOLINT: implicit by design
  static Purpose intern(std::string_view text);
  constexpr const char* text() const { return text_; }

 private:
  constexpr explicit Purpose(const char* text) : text_(text) {}
  const char* text_ = "";
};

struct PinOptions {
  Access access = Access::read;  // write: holes of the range get blocks; read: a hole is an error (ENXIO)
  Purpose purpose = {};
  std::chrono::nanoseconds deadline = kForever;  // how long taking may wait; also shown to whoever asks for holders
  OnBreak on_break = OnBreak::wait;              // when a truncate or punch is waiting for the range already
  bool released_elsewhere = false;               // another thread will release it: waiting for it is no deadlock
};

// Bytes that stay put. `address` lies in the device window.
struct Segment {
  std::byte* address = nullptr;
  std::uint64_t device_offset = 0;  // bytes from the start of the device
  std::uint64_t length = 0;         // bytes
};

// Move-only; releases when destroyed. A Pin may be released by any thread and may outlive its File and Filesystem.
// Thread-safety: as an int.
class Pin {
 public:
  Pin() noexcept = default;
  Pin(Pin&& other) noexcept
      : pages_(std::exchange(other.pages_, nullptr)),
        slot_(other.slot_),
        segment_(other.segment_),
        units_(other.units_),
        order_(other.order_),
        more_(std::exchange(other.more_, nullptr)) {}
  Pin& operator=(Pin&& other) noexcept;
  ~Pin() {
    if (pages_ != nullptr) release();
  }

  // In file order; adjacent device ranges are one segment.
  std::span<const Segment> segments() const noexcept;
  std::uint64_t length() const noexcept;
  explicit operator bool() const noexcept { return pages_ != nullptr; }

  // Gives the pages up: after this their storage may be reused at once. Never blocks. Does nothing on an empty pin.
  void release() noexcept;

 private:
  friend class PinBuilder;
  struct Units;            // what was counted, when it is more than one run
  void* pages_ = nullptr;  // the page map that counts it
  void* slot_ = nullptr;   // identity
  Segment segment_;
  std::uint32_t units_ = 0;
  std::uint8_t order_ = 0;
  Units* more_ = nullptr;
};

// One held pin, as reports show it.
struct PinInfo {
  std::uint32_t inode = 0;
  std::string path;  // as last opened; empty when not known
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  Access access = Access::read;
  std::string purpose;
  std::int32_t pid = 0;
  std::int32_t tid = 0;
  std::string thread_name;
  std::chrono::nanoseconds age{};
  std::chrono::nanoseconds deadline = kForever;  // left until then
  bool released_elsewhere = false;
};

}  // namespace holdfast
