// A pool on a recording device, and the least that is left of it when the power fails.
#pragma once

#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/recorder.h"

namespace holdfast::test {

class DurablePool : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kPoolBytes = 24 * MiB;

  explicit DurablePool(sim::Medium medium) : medium_(medium), recorder_(medium, kPoolBytes) {
    Device device(recorder_.open().value());
    format(device, {.journal = NewJournal::sized, .journal_bytes = 4 * MiB}).value();
    fs_.emplace(Filesystem::mount(std::move(device)).value());
  }

  File make(std::string_view path = "/file") { return fs_->open(path, Open::read_write | Open::create).value(); }
  static Pin write_pin(File& file, std::uint64_t offset, std::uint64_t length) {
    return file.pin(offset, length, {.access = Access::write, .purpose = "a device"}).value();
  }
  static std::size_t write(File& file, std::uint64_t offset, std::size_t length, char value) {
    const std::vector<std::byte> bytes(length, static_cast<std::byte>(value));
    return file.write(offset, bytes).value();
  }
  static void store(const Pin& pin, char value) {
    for (const Segment& segment : pin.segments()) std::memset(segment.address, value, segment.length);
  }
  void persist(const Pin& pin) {
    for (const Segment& segment : pin.segments()) recorder_.persist(segment.device_offset, segment.length);
  }
  // Of a page that the file shows at the offset, as a program that has flushed it.
  void persist(const File& file, std::uint64_t offset, std::uint64_t length) {
    const std::vector<ExtentInfo> extents = file.extents().value();
    for (const ExtentInfo& each : extents) {
      if (offset < each.offset || offset >= each.offset + each.length) continue;
      recorder_.persist(each.device_offset + (offset - each.offset), length);
    }
  }
  // What the file holds if the power fails now and nothing is left that need not be; empty: there is no such file.
  std::string least(std::uint64_t offset, std::uint64_t length, std::string_view path = "/file") {
    sim::Recorder after(medium_, *recorder_.cut().base);
    Result<Filesystem> fs = Filesystem::mount(Device(after.open().value()));
    if (!fs) return fs.error().message();
    const Result<File> file = fs->open(path, Open::read);
    if (!file) return {};
    std::string bytes(length, '\0');
    bytes.resize(file->read(offset, std::as_writable_bytes(std::span(bytes))).value());
    return bytes;
  }

  const sim::Medium medium_;
  sim::Recorder recorder_;
  std::optional<Filesystem> fs_;
};

}  // namespace holdfast::test
