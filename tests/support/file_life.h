// What a stress program knows of one file from its creation to its end: which bytes may be read of it, and what was
// done to its pages.
//
// Every word of a file says whose it is: file, page, generation. A file is a new one whenever its name is made anew,
// and a generation belongs to one write. A word may be read of a page when it is zero, or of this file and page, and of
// a generation that has been given out and was not cut away by an operation that was over before.
//
// Either/or of a write and a cut that meet: the write announces its generation before it writes, and takes it back when
// it is done; the cut reads what is announced before it begins. So a generation below all of those was on the page, if
// at all, before the cut, and is never seen after it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>

namespace holdfast::test {

using Word = std::uint64_t;
inline constexpr std::uint64_t kPageWords = 512;
inline constexpr std::uint32_t kAnyPage = 0xFFF;  // of an append, which learns late where it went

struct Stamp {
  std::uint32_t file = 0;        // 24 bits
  std::uint32_t page = 0;        // 12 bits
  std::uint32_t generation = 0;  // 28 bits; from 1 on, so that no stamp is 0
  constexpr Word word() const { return Word{file} << 40 | Word{page} << 28 | generation; }
  static constexpr Stamp of(Word word) {
    return {static_cast<std::uint32_t>(word >> 40), static_cast<std::uint32_t>(word >> 28) & 0xFFF,
            static_cast<std::uint32_t>(word) & 0xFFFFFFF};
  }
};

class FileLife {
 public:
  static constexpr std::uint32_t kPages = 1024;  // the largest file
  static constexpr unsigned kThreads = 16;
  static constexpr unsigned kAnnouncements = 6;  // of each thread: one for what it does, the others for its pins

  explicit FileLife(std::uint32_t id) : id_(id) {}
  std::uint32_t id() const { return id_; }

  // A generation for a write, announced until done() of the same place.
  std::uint32_t begin_write(unsigned thread, unsigned place);
  void done(unsigned thread, unsigned place);

  // Before a cut; `after` when it has succeeded.
  std::uint32_t begin_cut() const;
  void cut(std::uint32_t first, std::uint32_t end, std::uint32_t begun);

  // The least generation that a read of the page which begins now may find.
  std::uint32_t floor(std::uint32_t page) const { return floors_.at(page).load(); }
  bool may_be(Word word, std::uint32_t page, std::uint32_t floor) const;

  // Who stores to a page shares it; a holder who wants its bytes to stay has it alone.
  bool try_share(std::uint32_t first, std::uint32_t end);
  void unshare(std::uint32_t first, std::uint32_t end);
  bool try_own(std::uint32_t first, std::uint32_t end);
  void disown(std::uint32_t first, std::uint32_t end);

  // The last operations, for whoever finds a wrong byte.
  void note(const char* operation, unsigned thread, std::uint32_t first, std::uint32_t end, std::uint32_t generation,
            int code);
  std::string history(std::uint32_t page) const;

 private:
  struct Note {
    std::uint64_t number;
    const char* operation;
    unsigned thread;
    std::uint32_t first, end;
    std::uint32_t generation;
    int code;
  };
  static constexpr std::size_t kNotes = 512;
  static constexpr std::int32_t kOwned = -1;

  const std::uint32_t id_;
  std::atomic<std::uint32_t> next_{1};
  std::array<std::atomic<std::uint32_t>, kThreads * kAnnouncements> announced_{};
  std::array<std::atomic<std::uint32_t>, kPages> floors_{};
  std::array<std::atomic<std::int32_t>, kPages> users_{};
  mutable std::mutex mutex_;
  std::deque<Note> notes_;
  static std::atomic<std::uint64_t> note_number_;
};

}  // namespace holdfast::test
