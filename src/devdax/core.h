// A raw device: one file that is all of the device, in units of one size, for as long as the device lives.
//
// There is no file system and nothing is freed, so nothing breaks a layout but the end. Entries, pins and faults are
// those of files: an entry covers one unit at the unit's own index, its page is the page of that number, one reference
// is counted for it, and its count's address is the one wait key (Order::align_down is the helper of all of them).
//
// Life: open -> closed (remove, or the last handle's end) -> drained (no unit is referenced) -> ended.
//   closed   nothing begins: no window, no entry, no pin. What is shown shows nothing: place() says `past_end`.
//   drained  told by the page map, on whatever thread gives the last reference back.
//   ended    the memory is unmapped and the lock given up: by remove(), or with the core.
// The core is kept by shared_ptrs of RawDevice and windows, and after them by pins: their units hold the page map, and
// a thread that waits for the last of them ends the core.
//
// Either/or of the end and a fault: a fault is inside a Hold when it reads `closed_`; the end stores `closed_`, then
// closes the gate, which waits for holds. So the fault finds the device closed, or the end takes away what it
// installed. Test: RawRace.R17_RemoveMeetsFault.
// Either/or of the end and an entry: an association is made inside an epoch that reads the page map's own flag;
// PageMap::close sets it and waits for those epochs. So there is no entry, or the zap finds it.
// Test: RawRace.R17_RemoveMeetsEntry.
// Either/or of the end and a pin: that of a zap and a pin (mapping.h). Test: RawRace.R17_RemoveMeetsPin.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/fork.h"
#include "base/result.h"
#include "base/units.h"
#include "device/device.h"
#include "mapping/mapping.h"
#include "pagemap/pagemap.h"
#include "pin/source.h"
#include "window/file_windows.h"
#include "window/owner.h"
#include "window/source.h"

namespace holdfast::devdax {

inline constexpr PageRange kEverything{PageIndex(0), kEndOfFile};

class Core final : public window::Owner, public window::FileSource, public pin::Source {
 public:
  // `unit`: kOrder4K, kOrder2M or kOrder1G. EINVAL: the size is no multiple of it, or the carrier's page is larger.
  // ENOMEM.
  static Result<std::shared_ptr<Core>> start(std::unique_ptr<device::Device> device, Order unit);

  device::Device& device() const { return *device_; }
  pagemap::PageMap& pages() const { return *pages_; }
  window::FileWindows& windows() { return *windows_; }
  Order unit() const { return unit_; }
  std::uint64_t size() const { return size_.load(std::memory_order_relaxed); }
  std::uint32_t id() const { return id_; }  // FileKey::filesystem
  bool read_only() const { return read_only_; }
  // nullptr once remove() has ended it.
  std::byte* window() const { return ended_.load(std::memory_order_acquire) ? nullptr : window_; }

  bool is_usable() const { return fork_generation() == generation_ && !closed(); }
  Error usable_error() const;

  // The end of the device, see holdfast::RawDevice::remove.
  Status remove(Deadline deadline);

  // --- window::Owner ---
  std::string name() const override { return name_; }
  Status usable() const override { return is_usable() ? Status() : Status(usable_error()); }
  std::uint64_t part() const override { return unit_.pages().bytes(); }
  std::uint64_t shown_end() const override { return closed() ? 0 : size(); }
  Status sync(PageRange range) override;
  Result<std::size_t> load(std::uint64_t offset, std::span<std::byte> to) override;
  Result<std::size_t> store(std::uint64_t offset, std::span<const std::byte> from) override;

  // --- window::FileSource ---
  mapping::Mapping& mapping() const override { return *mapping_; }
  window::Place place(PageIndex index) const override;
  PageIndex end() const override { return closed() ? PageIndex(0) : page_after(size()); }
  std::optional<Grain> whole_grain(PageIndex first, PageCount grain) const override;
  bool try_track(PageRange range) override;
  Status track(PageRange range, Access access) override { return track(range, access, Deadline::never()); }
  Status learn(PageIndex /*index*/) override { return {}; }
  void make_unit(PageIndex first) override;

  // --- pin::Source ---
  pin::Target target() override { return {*mapping_, size_, window_}; }
  // ENODEV, ENOMEM, ETIMEDOUT, EINTR.
  Status track(PageRange range, Access access, Deadline deadline) override;

 private:
  struct Keeper final : pagemap::DeviceKeeper {
    explicit Keeper(Core& core_in) : core(core_in) {}
    void drained() noexcept override;
    Core& core;
  };
  // A page that nobody refers to goes nowhere: it is the device's still.
  struct NobodyToTell final : pagemap::PageOwner {
    void last_put(Pfn /*first*/, Order /*order*/) noexcept override {}
  };

  Core(std::unique_ptr<device::Device> device, Order unit);
  ~Core() = default;
  bool closed() const { return closed_.load(std::memory_order_acquire); }  // partner: the store in close
  PageRange units(PageRange range) const { return round_out(range, unit_.pages()); }
  bool is_tracked(PageIndex unit) const { return mapping_->lookup(unit).tracks(); }
  // The bytes from `offset` on that the device has, inside a hold of them; none once it is closed.
  std::size_t held_bytes(std::uint64_t offset, std::size_t length) const;

  // remove.cc
  void close();
  void take_away();
  void end_memory();
  void release_creator();
  void wait_until_drained() const;
  bool start_waiting_for_pins() noexcept;
  static void abandon(Core* core) noexcept;

  static constexpr std::uint32_t kDrained = 1;
  static constexpr std::uint32_t kAbandoned = 2;  // and nobody waits: whoever sets the second bit ends the core

  const std::uint32_t id_;
  const std::uint32_t generation_ = fork_generation();
  const Order unit_;
  const std::string name_;
  const bool read_only_;
  const std::unique_ptr<device::Device> device_;
  std::byte* const window_;
  Atomic<std::uint64_t> size_;  // never changes; pins read it as they do a file's
  std::atomic<bool> closed_{false};
  std::atomic<bool> ended_{false};
  std::atomic<bool> creator_released_{false};
  std::atomic<std::uint32_t> life_{0};
  Keeper keeper_{*this};
  NobodyToTell nobody_;
  std::unique_ptr<pagemap::PageMap> pages_;
  // These two end with the last handle, before the last pin.
  std::unique_ptr<mapping::Mapping> mapping_;
  std::unique_ptr<window::FileWindows> windows_;
};

}  // namespace holdfast::devdax
