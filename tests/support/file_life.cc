#include "support/file_life.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::test {

std::atomic<std::uint64_t> FileLife::note_number_{1};

std::uint32_t FileLife::begin_write(unsigned thread, unsigned place) {
  // Announced first: the generation that follows is no smaller.
  announced_.at(thread * kAnnouncements + place).store(next_.load());
  return next_.fetch_add(1);
}

void FileLife::done(unsigned thread, unsigned place) { announced_.at(thread * kAnnouncements + place).store(0); }

std::uint32_t FileLife::begin_cut() const {
  std::uint32_t least = next_.load();
  for (const auto& each : announced_) {
    const std::uint32_t generation = each.load();
    if (generation != 0) least = std::min(least, generation);
  }
  return least;
}

void FileLife::cut(std::uint32_t first, std::uint32_t end, std::uint32_t begun) {
  for (std::uint32_t page = first; page < std::min(end, kPages); ++page) {
    std::uint32_t now = floors_[page].load();
    while (now < begun && !floors_[page].compare_exchange_weak(now, begun)) {
    }
  }
}

bool FileLife::may_be(Word word, std::uint32_t page, std::uint32_t floor) const {
  if (word == 0) return true;
  const Stamp stamp = Stamp::of(word);
  return stamp.file == id_ && (stamp.page == page || stamp.page == kAnyPage) &&
         stamp.generation >= std::max(floor, 1U) && stamp.generation < next_.load();
}

bool FileLife::try_share(std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t page = first; page < end; ++page) {
    std::int32_t now = users_.at(page).load();
    while (now != kOwned && !users_[page].compare_exchange_weak(now, now + 1)) {
    }
    if (now == kOwned) {
      unshare(first, page);
      return false;
    }
  }
  return true;
}

void FileLife::unshare(std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t page = first; page < end; ++page) users_.at(page).fetch_sub(1);
}

bool FileLife::try_own(std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t page = first; page < end; ++page) {
    std::int32_t nobody = 0;
    if (users_.at(page).compare_exchange_strong(nobody, kOwned)) continue;
    disown(first, page);
    return false;
  }
  return true;
}

void FileLife::disown(std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t page = first; page < end; ++page) users_.at(page).store(0);
}

void FileLife::note(const char* operation, unsigned thread, std::uint32_t first, std::uint32_t end,
                    std::uint32_t generation, int code) {
  const std::lock_guard lock(mutex_);
  notes_.push_back({note_number_.fetch_add(1), operation, thread, first, end, generation, code});
  if (notes_.size() > kNotes) notes_.pop_front();
}

std::string FileLife::history(std::uint32_t page) const {
  const std::lock_guard lock(mutex_);
  std::string text = fmt::format("file {}, page {}, floor {}:\n", id_, page, floor(page));
  for (const Note& each : notes_) {
    if (page < each.first || page >= each.end) continue;
    text += fmt::format("  {:>8} thread {} {} pages [{}, {}) generation {} result {}\n", each.number, each.thread,
                        each.operation, each.first, each.end, each.generation, each.code);
  }
  return text;
}

}  // namespace holdfast::test
