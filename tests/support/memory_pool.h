// A file system of the file-system layer alone: a memory device, the format that lives in maps, and files on it.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/fault_point.h"
#include "device/device.h"
#include "filesystem/core.h"
#include "filesystem/open.h"
#include "filesystem/pin.h"
#include "filesystem/quarantine.h"
#include "filesystem/read.h"
#include "filesystem/truncate.h"
#include "filesystem/unlink.h"
#include "filesystem/write.h"
#include "support/memory_format.h"

namespace holdfast::test {

using Bytes = std::vector<std::byte>;

// Bytes that depend on the seed and their place, none of them 0: what should be zero is seen.
inline Bytes pattern(std::size_t length, unsigned seed) {
  Bytes bytes(round_up(length, 8));
  std::uint64_t state = seed * 0x9E3779B97F4A7C15U + 1;
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const std::uint64_t word = (state ^ state >> 29) | 0x0101010101010101U;
    std::memcpy(bytes.data() + at, &word, 8);
  }
  bytes.resize(length);
  return bytes;
}

class MemoryPool : public ::testing::Test {
 protected:
  using FilePtr = std::shared_ptr<filesystem::OpenFile>;

  static constexpr std::uint64_t kDefaultBytes = 16 * MiB;

  ~MemoryPool() override {
    fault_point::disarm_all();
    end();
  }

  void start(std::uint64_t bytes = kDefaultBytes, PageCount cluster = PageCount(1), bool scattered = false) {
    auto device = device::Device::create_memory({.size = bytes}).value();
    // What lay on the device before is no zeros: who shows it is found out.
    std::memset(device->window(), 0xA5, bytes);
    auto owned = std::make_unique<MemoryFormat>(
        MemoryFormat::Options{.blocks = device->pages(), .cluster = cluster, .scattered = scattered});
    format_ = owned.get();
    format_->report_ending_to(&ending_);
    all_free_ = format_->free_pages();
    core_ = filesystem::Core::start(std::move(device), std::move(owned)).value();
  }
  // The last reference of the test's own.
  void end() { core_.reset(); }

  FilePtr open(const std::string& path, bool create = true) {
    return filesystem::open(core_, path, {.read = true, .write = true, .create = create}).value();
  }
  static std::size_t write(const FilePtr& file, std::uint64_t offset, std::span<const std::byte> bytes) {
    const iovec one{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return filesystem::write(*file->inode, offset, {&one, 1}).value();
  }
  static Bytes read(const FilePtr& file, std::uint64_t offset, std::size_t length) {
    Bytes bytes(length, std::byte{0xEE});
    const iovec one{bytes.data(), bytes.size()};
    bytes.resize(filesystem::read(*file->inode, offset, {&one, 1}).value());
    return bytes;
  }
  static Status truncate(const FilePtr& file, std::uint64_t size, OnPinned on_pinned = OnPinned::wait,
                         Deadline deadline = Deadline::never()) {
    return filesystem::truncate(*file->inode, size, on_pinned, deadline);
  }
  static Pin pin(const FilePtr& file, std::uint64_t offset, std::uint64_t length, const PinOptions& options = {}) {
    return filesystem::pin(*file->inode, offset, length, options).value();
  }
  static std::uint64_t size_of(const FilePtr& file) { return file->inode->size.load(std::memory_order_acquire); }
  Status unlink(const std::string& path) { return filesystem::unlink(*core_, path); }
  std::uint64_t free_pages() { return format_->free_pages(); }
  // What the worker was asked to do is done.
  void settle() { static_cast<void>(core_->quarantine().bytes()); }

  MemoryFormat::Ending ending_;
  MemoryFormat* format_ = nullptr;  // the core's
  std::shared_ptr<filesystem::Core> core_;
  std::uint64_t all_free_ = 0;
};

}  // namespace holdfast::test
