// Files of a real pool, for races of whole operations: what their tests look at. The pool must unmount, and e2fsck be
// content, when a test ends.
#pragma once

#include <string>
#include <utility>

#include "filesystem/core.h"
#include "filesystem/open.h"
#include "filesystem/worker.h"
#include "support/pool_fixture.h"

namespace holdfast::test {

class FileRace : public PoolTest {
 protected:
  static constexpr std::uint64_t kPage = 4 * KiB;

  // Units of the device that an entry or a pin refers to.
  std::uint64_t references() { return fs().core().pages().references(); }
  static filesystem::Inode& inode_of(const File& file) { return *file.impl()->inode; }
  static mapping::Entry entry_of(const File& file, std::uint64_t offset) {
    return inode_of(file).mapping.lookup(page_holding(offset));
  }
  std::uint32_t refcount_of(const File& file, std::uint64_t offset) {
    const PageIndex index = page_holding(offset);
    const Pfn place = inode_of(file).extents.find(index).pfn;
    return fs().core().pages().refcount(place);
  }
  // Inodes without handles leave the cache, with their entries.
  void drop_unused() {
    const MutexLock turn(fs().core().worker().turn());
    fs().core().inodes().drop_unused();
  }
  // What unlinks and closes left to the worker is done.
  void settle() { static_cast<void>(fs().space()); }

  static std::string text_of(const File& file, std::uint64_t offset, std::size_t length) {
    std::string text(length, '?');
    text.resize(file.read(offset, std::as_writable_bytes(std::span(text))).value());
    return text;
  }
  static std::string text_of(const Pin& pin) {
    std::string text;
    for (const Segment& each : pin.segments()) text.append(reinterpret_cast<const char*>(each.address), each.length);
    return text;
  }
  // What a device does.
  static void write_to(const Pin& pin, char byte) {
    for (const Segment& each : pin.segments()) std::fill_n(each.address, each.length, static_cast<std::byte>(byte));
  }
};

}  // namespace holdfast::test
