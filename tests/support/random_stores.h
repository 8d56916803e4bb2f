// Random stores to a window while the file changes under it, and the proof that none was lost and none strayed.
//
// Some pages of the file are kept: stores to them are remembered, and must be there at the end. The others are punched,
// written, zeroed and cut off all the time, and take stores that nobody remembers. Another file takes up the blocks
// that fall free and must keep its own bytes.
#pragma once

#include <holdfast/holdfast.h>

#include <cstdint>
#include <string>

namespace holdfast::test {

struct StoreMix {
  std::uint64_t seed = 1;
  std::uint64_t page_bytes = 4 * KiB;        // what the carrier maps at least
  std::uint64_t pages = 1024;                // of the file
  ServeFaults faults = ServeFaults::thread;  // of the window that is stored to
  std::uint64_t stores = 200000;             // by each of two threads, at least
  std::uint64_t changes = 300;               // at least, while they store
};

struct StoreCount {
  std::uint64_t stores = 0;
  std::uint64_t checked = 0;  // words compared in the device's memory, through the file and through the window
  std::uint64_t lost = 0;     // of these, words that hold something else
  std::uint64_t strayed = 0;  // bytes of the other file that were changed
  std::uint64_t changes = 0;  // each with a zap of up to 64 pages
  std::uint64_t refused = 0;  // changes that found a pin
  std::uint64_t reused = 0;   // bytes that the other file took up
  std::string first_lost;     // where, and what was there
};

// On an empty pool.
StoreCount random_stores(Filesystem& fs, const StoreMix& mix);

}  // namespace holdfast::test
