// A raw device of the devdax layer on a carrier of choice, and windows of it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/epoch.h"
#include "devdax/core.h"
#include "devdax/map.h"
#include "devdax/pin.h"
#include "support/carriage.h"
#include "support/hugetlb.h"
#include "support/skip.h"
#include "support/touch.h"

namespace holdfast::devdax {

using test::Carriage;

// On what, in units of what, and served how.
struct RawSetting {
  Carriage carriage = Carriage::memory;
  Order unit = kOrder4K;
  ServeFaults faults = ServeFaults::thread;
};
inline constexpr RawSetting kRawSettings[] = {
    {Carriage::memory, kOrder4K, ServeFaults::thread},     {Carriage::memory, kOrder2M, ServeFaults::thread},
    {Carriage::memory, kOrder1G, ServeFaults::thread},     {Carriage::tmpfs_file, kOrder4K, ServeFaults::thread},
    {Carriage::tmpfs_file, kOrder2M, ServeFaults::thread}, {Carriage::disk_file, kOrder4K, ServeFaults::thread},
    {Carriage::disk_file, kOrder2M, ServeFaults::thread},  {Carriage::hugetlb, kOrder2M, ServeFaults::thread},
    {Carriage::memory, kOrder4K, ServeFaults::in_thread},  {Carriage::memory, kOrder2M, ServeFaults::in_thread},
    {Carriage::memory, kOrder1G, ServeFaults::in_thread},  {Carriage::hugetlb, kOrder2M, ServeFaults::in_thread},
};
inline std::string name_of(const RawSetting& setting) {
  const std::string unit = setting.unit == kOrder4K ? "_4K" : setting.unit == kOrder2M ? "_2M" : "_1G";
  return test::to_string(setting.carriage) + unit + (setting.faults == ServeFaults::in_thread ? "_in_thread" : "");
}

// A window as a program has it: ends with its scope.
class Shown {
 public:
  explicit Shown(std::shared_ptr<window::View> view) : view_(std::move(view)) {}
  Shown(Shown&&) = default;
  Shown& operator=(Shown&&) = delete;
  ~Shown() { end(); }
  void end() {
    if (const auto view = std::exchange(view_, nullptr)) window::FileWindows::end(view);
  }
  std::byte* data() const { return view_->begin(); }
  window::View& view() const { return *view_; }
  bool takes_faults() const { return view_->faults() != nullptr; }

 private:
  std::shared_ptr<window::View> view_;
};

class RawBed : public ::testing::Test {
 protected:
  ~RawBed() override {
    core_.reset();
    epoch::flush();
  }
  // 2 MiB and more: four units, but two of 1 GiB, of which next to nothing is ever touched.
  void open(const RawSetting& setting) {
    core_.reset();
    setting_ = setting;
    if (setting.carriage == Carriage::hugetlb && !huge_pages_) {
      huge_pages_.emplace(48U);
      if (!huge_pages_->missing().empty()) HF_SKIP_CAPABILITY("hugetlb", huge_pages_->missing());
    }
    const std::uint64_t size = setting.unit == kOrder1G ? 2 * GiB : std::max(4 * unit_bytes(), 8 * MiB);
    core_ = Core::start(test::make_device(setting.carriage, size, scratch_), setting.unit).value();
  }
  void open_again() {
    core_ = Core::start(device::Device::open(path(), device::OpenMode::read_write).value(), setting_.unit).value();
  }
  std::string path() const { return scratch_->file("pool"); }  // of carriers that are files
  std::uint64_t unit_bytes() const { return setting_.unit.pages().bytes(); }
  const RawSetting& setting() const { return setting_; }
  std::shared_ptr<Core>& core() { return core_; }

  Result<std::shared_ptr<window::View>> try_map(std::uint64_t offset, std::uint64_t length, bool populate = false) {
    return map(core_, {offset, length, Access::write, populate, setting_.faults});
  }
  Shown show(std::uint64_t offset, std::uint64_t length) { return Shown(try_map(offset, length).value()); }
  Result<Pin> pin_at(std::uint64_t offset, std::uint64_t length, const char* purpose = "", bool elsewhere = false) {
    PinOptions options;
    options.access = Access::write;
    options.purpose = Purpose::intern(purpose);
    options.released_elsewhere = elsewhere;
    return pin(*core_, offset, length, options);
  }
  Status remove(Nanoseconds deadline = kForever) { return core_->remove(Deadline::after(deadline)); }
  static int code_of(const Status& status) { return status ? 0 : status.error().code(); }
  template <typename Value>
  static int code_of(const Result<Value>& result) {
    return result ? 0 : result.error().code();
  }
  static void put(std::byte* at, std::string_view text) { std::memcpy(at, text.data(), text.size()); }
  static std::string text(const std::byte* at, std::size_t length) {
    return {reinterpret_cast<const char*>(at), length};
  }
  // The count of the unit that holds the byte.
  pagemap::CountWord count(std::uint64_t offset) const {
    return core_->pages().read(Pfn(offset >> kPageShift).align_down(setting_.unit), setting_.unit);
  }
  static void expect_dead(std::byte* address) {
    EXPECT_TRUE(test::dies_of_bus_error(address));
    EXPECT_TRUE(test::store_dies_of_bus_error(address));
    EXPECT_EQ(test::system_call_reads(address), EFAULT);
    EXPECT_EQ(test::system_call_stores(address), EFAULT);
  }

 private:
  RawSetting setting_;
  std::optional<test::HugePages> huge_pages_;
  std::optional<test::ScratchDirectory> scratch_;
  std::shared_ptr<Core> core_;
};

}  // namespace holdfast::devdax
