// The space that a carrier keeps behind the device: allocated ahead of stores, given back by punching holes.
//
// Space is taken in chunks (2 MiB, or the carrier's page where that is larger). One bit per chunk remembers that all of
// it is there:
//
// B1: a set bit means that every page of the chunk is allocated, except pages that are being given back right now.
// B2: bits change, and space is allocated or given back, only under mutex_. Without it a reserve could set the bit of a
//     chunk after a give_back had cleared it and punched another page out of it.
//     Test: Backing4K.GiveBackDuringReserveIsNotForgotten.
// B3: give_back clears the bit before it punches: who sees the bit set (acquire, without the lock) of a page that he
//     owns sees a page that is allocated. The page that is being given back has no owner who could ask.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "device/descriptor_identity.h"
#include "device/device.h"

namespace holdfast::device {

class Backing {
 public:
  // `fd` stays open as long as this object. Costs no more for a large device: the bits are memory that is not touched
  // before it is needed. ENOMEM: no address space for them.
  static Result<std::unique_ptr<Backing>> create(int fd, const std::string& name, const Geometry& geometry);
  ~Backing();
  Backing(const Backing&) = delete;
  Backing& operator=(const Backing&) = delete;

  // Whether nothing is left to do for the range. One load per chunk.
  bool is_reserved(std::uint64_t offset, std::uint64_t length) const {
    const std::uint64_t end = offset + length;
    for (std::uint64_t next = offset; next < end; next = (next / chunk_bytes_ + 1) * chunk_bytes_) {
      if (!is_complete(next / chunk_bytes_)) return false;
    }
    return true;
  }

  // B4: two more bits of a chunk: whether it is known how the kernel translates it, and whether that is by one entry.
  //     Cleared when some of it is given back. A hint for how to install translations: wrong only costs time.
  enum class Unit : std::uint8_t { unknown, small, whole };
  Unit unit(std::uint64_t chunk) const {
    if (!has(known_, chunk)) return Unit::unknown;
    return has(units_, chunk) ? Unit::whole : Unit::small;
  }
  void note_unit(std::uint64_t chunk, bool whole) {
    Word& word = units_[chunk / kBitsPerWord];
    if (whole) {
      word.fetch_or(bit_of(chunk), std::memory_order_relaxed);
    } else if (has(units_, chunk)) {
      word.fetch_and(~bit_of(chunk), std::memory_order_relaxed);
    }
    known_[chunk / kBitsPerWord].fetch_or(bit_of(chunk), std::memory_order_relaxed);
  }

  // Allocates what is missing. Takes whole chunks while the carrier has room for them, the exact range otherwise.
  // Blocks on the carrier. ENOSPC: out of space; ENOTSUP: the carrier's file system cannot allocate ahead.
  Status reserve(std::uint64_t offset, std::uint64_t length);

  // Gives whole carrier pages inside the range back. False when the carrier cannot: contents stay as they are.
  bool give_back(std::uint64_t offset, std::uint64_t length);

 private:
  using Word = std::atomic<std::uint64_t>;

  Backing(int fd, std::string name, const Geometry& geometry, Word* words, std::uint64_t word_count);
  static constexpr std::uint64_t kBitsPerWord = 64;
  static std::uint64_t bit_of(std::uint64_t chunk) { return std::uint64_t{1} << (chunk % kBitsPerWord); }

  static bool has(const Word* words, std::uint64_t chunk) {
    return (words[chunk / kBitsPerWord].load(std::memory_order_relaxed) & bit_of(chunk)) != 0;
  }
  bool is_complete(std::uint64_t chunk) const {
    // Pairs with set_complete: the allocation came before the bit.
    return (words_[chunk / kBitsPerWord].load(std::memory_order_acquire) & bit_of(chunk)) != 0;
  }
  void set_complete(std::uint64_t chunk) HF_REQUIRES(mutex_);
  void clear_complete(std::uint64_t first_chunk, std::uint64_t last_chunk) HF_REQUIRES(mutex_);
  Status reserve_in_chunk(std::uint64_t chunk, std::uint64_t offset, std::uint64_t end);
  bool carrier_has_room_for_chunk() const;
  int allocate(std::uint64_t offset, std::uint64_t end) HF_REQUIRES(mutex_);
  Error cannot_allocate(int code, std::uint64_t bytes) const;

  const int fd_;
  const DescriptorIdentity identity_;  // of fd_
  const std::string name_;
  const Geometry geometry_;
  const std::uint64_t chunk_bytes_;
  Word* const words_;  // B1
  Word* const units_;  // B4; behind words_
  Word* const known_;  // B4; behind units_
  const std::uint64_t word_count_;
  Mutex mutex_{LockRank::leaf};
};

}  // namespace holdfast::device
