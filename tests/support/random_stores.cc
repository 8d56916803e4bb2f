#include "support/random_stores.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "base/units.h"
#include "support/pool_fixture.h"
#include "window/file_windows.h"
#include "window/registry.h"

namespace holdfast::test {
namespace {

using Word = std::uint64_t;

constexpr std::uint64_t kWordsUsed = 128;  // of each page: a word on every 32nd byte of 4 KiB
constexpr unsigned kStorers = 2;
constexpr std::byte kOfTheOther{0xB5};

class Run {
 public:
  Run(Filesystem& fs, const StoreMix& mix)
      : fs_(fs),
        mix_(mix),
        tail_(mix.pages - mix.pages / 4),
        file_(fs.open("/a", Open::create | Open::read_write).value()),
        other_(fs.open("/b", Open::create | Open::read_write).value()),
        random_(mix.seed) {
    for (std::uint64_t page = 0; page < mix.pages; ++page) {
      (page >= tail_ || random_() % 3 == 0 ? churned_ : kept_).push_back(page);
    }
    changing_.store(churned_.front());
    file_.truncate(mix.pages * mix.page_bytes).value();
    leave_little_space();
  }

  StoreCount go() {
    Window window = file_.map(0, 2 * mix_.pages * mix_.page_bytes, {.faults = mix_.faults}).value();
    fills_holes_ = window.faults() != Faults::none;
    std::vector<std::vector<Word>> expected(kStorers);
    std::vector<std::thread> storers;
    for (unsigned which = 0; which < kStorers; ++which) {
      storers.emplace_back([this, &window, &expected, which] { expected[which] = store(window, which); });
    }
    std::thread changer([this, &window] {
      while (storing_.load() > 0) change(window);
    });
    std::thread taker([this] {
      do {
        take_up_blocks();
      } while (storing_.load() > 0);
    });
    for (std::thread& storer : storers) storer.join();
    changer.join();
    taker.join();
    check(window, expected);
    count_.changes = changes_.load();
    return count_;
  }

 private:
  std::uint64_t at(std::uint64_t page) const { return page * mix_.page_bytes; }
  // Where word `which` of place `place` lies in its page.
  std::uint64_t offset_of(std::uint64_t place, unsigned which) const {
    return place * (mix_.page_bytes / kWordsUsed) + which * sizeof(Word);
  }

  // So that what falls free of one file is soon the other's.
  void leave_little_space() {
    File filler = fs_.open("/filler", Open::create | Open::read_write).value();
    const std::uint64_t wanted = at(mix_.pages) + at(mix_.pages) / 2 + other_bytes() + 3 * MiB;
    std::uint64_t size = 0;
    const std::uint64_t step = std::max<std::uint64_t>(mix_.page_bytes, 256 * KiB);
    while (fs_.space().free > wanted + step && filler.allocate(size, step)) size += step;
  }
  std::uint64_t other_bytes() const { return std::max<std::uint64_t>(2 * mix_.page_bytes, 256 * KiB); }

  std::vector<Word> store(const Window& window, unsigned which) {
    std::mt19937_64 random(mix_.seed + which + 1);
    std::vector<Word> last(mix_.pages * kWordsUsed, 0);
    std::uint64_t i = 0;
    for (; i < mix_.stores || changes_.load(std::memory_order_relaxed) < mix_.changes; ++i) {
      const std::uint64_t chance = random();
      // Seldom enough that a storer does not always wait for the page already when the change comes to its point.
      const bool stray = fills_holes_ && chance % 128 == 0;
      const std::uint64_t page =
          stray ? changing_.load(std::memory_order_relaxed) : kept_[(chance >> 8) % kept_.size()];
      const std::uint64_t place = (chance >> 40) % kWordsUsed;
      auto* const word = reinterpret_cast<Word*>(window.data() + at(page) + offset_of(place, which));
      const Word value = (i + 1) << 1 | which;
      __atomic_store_n(word, value, __ATOMIC_RELAXED);
      if (!stray) last[page * kWordsUsed + place] = value;
    }
    storing_.fetch_sub(1);
    stores_.fetch_add(i);
    return last;
  }

  void change(Window& window) {
    const std::uint64_t page = churned_[random_() % churned_.size()];
    const bool there = at(page) < file_.size();
    if (page < tail_) changing_.store(page, std::memory_order_relaxed);
    switch (random_() % 8) {
      case 0:
      case 1:
        file_.punch(at(page), mix_.page_bytes).value();
        break;
      case 2:
        if (there) file_.write(at(page), std::as_bytes(std::span("filled"))).value();
        break;
      case 3:
        file_.truncate(at(tail_) + random_() % at(mix_.pages / 2)).value();
        break;
      case 4:
        if (there) refused_punch(page);
        break;
      case 5:
        if (there) file_.zero_range(at(page), mix_.page_bytes).value();
        break;
      case 6:
        second_window();
        break;
      case 7:
        static_cast<void>(window.populate(at(kept_[random_() % kept_.size()]), mix_.page_bytes));
        break;
    }
    if (fills_holes_) store_behind_the_change(window, page);
    zap(window);
    if (random_() % 64 == 0) fs_.sync().value();
    changes_.fetch_add(1, std::memory_order_relaxed);
  }

  // Nobody else changes the page now: whatever the storers brought there during the change, this must reach the file.
  void store_behind_the_change(const Window& window, std::uint64_t page) {
    const std::uint64_t offset = at(page) + offset_of(random_() % kWordsUsed, kStorers);
    if (offset + sizeof(Word) > file_.size()) return;
    const Word value = random_();
    __atomic_store_n(reinterpret_cast<Word*>(window.data() + offset), value, __ATOMIC_RELAXED);
    Word found = 0;
    file_.read(offset, std::as_writable_bytes(std::span(&found, 1))).value();
    compare(page, "the file after a change", reinterpret_cast<const std::byte*>(&found), value);
  }

  // What a break does to the units that it touches, and to what is kept in them.
  void zap(const Window& window) {
    const PageCount pages(mix_.page_bytes / kPageBytes);
    const PageIndex first(random_() % tail_ * pages.raw());
    const PageCount count(random_() % 64 * pages.raw());
    window::find_and_keep_view(window.data())->file().remove_translations({first, first + count});
  }

  void refused_punch(std::uint64_t page) {
    const Result<Pin> pin = file_.pin(at(page), 1, {.access = Access::write});
    if (!pin) return;
    const std::uint64_t first = page < 16 ? 0 : page - 16;
    if (file_.punch(at(first), at(page - first + 1), {.on_pinned = OnPinned::fail})) {
      count_.first_lost = "a punch of a pinned page came through";
      ++count_.lost;
    }
    ++count_.refused;
  }

  void take_up_blocks() {
    std::vector<std::byte> bytes(other_bytes(), kOfTheOther);
    const Result<std::size_t> written = other_.write(0, bytes);
    if (!written) return;
    const std::uint64_t got = other_.read(0, std::span(bytes).first(*written)).value();
    count_.strayed += got - static_cast<std::uint64_t>(std::count(
                                bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(got), kOfTheOther));
    count_.reused += got;
    other_.truncate(0).value();
  }

  void second_window() {
    const std::uint64_t first = random_() % tail_;
    const Window window = file_.map(at(first), at(std::min<std::uint64_t>(16, tail_ - first))).value();
    for (std::uint64_t offset = 0; offset < window.size(); offset += mix_.page_bytes) {
      sum_ += std::to_integer<unsigned>(*const_cast<const volatile std::byte*>(window.data() + offset));
    }
  }

  void check(const Window& window, const std::vector<std::vector<Word>>& expected) {
    count_.stores = stores_.load();
    for (const std::uint64_t page : kept_) {
      const Result<Pin> pin = file_.pin(at(page), mix_.page_bytes, {.access = Access::write});
      std::vector<std::byte> read(mix_.page_bytes);
      EXPECT_EQ(file_.read(at(page), read).value(), mix_.page_bytes);
      for (unsigned which = 0; which < kStorers; ++which) {
        for (std::uint64_t place = 0; place < kWordsUsed; ++place) {
          const Word value = expected[which][page * kWordsUsed + place];
          const std::uint64_t offset = offset_of(place, which);
          compare(page, "the device", pin->segments()[0].address + offset, value);
          compare(page, "the file", read.data() + offset, value);
          compare(page, "the window", window.data() + at(page) + offset, value);
        }
      }
    }
  }

  void compare(std::uint64_t page, const char* where, const std::byte* bytes, Word expected) {
    Word found = 0;
    std::memcpy(&found, bytes, sizeof found);
    ++count_.checked;
    if (found == expected) return;
    if (count_.lost++ == 0) {
      count_.first_lost = fmt::format("page {} in {}: {:#x} instead of {:#x}", page, where, found, expected);
    }
  }

  Filesystem& fs_;
  const StoreMix mix_;
  const std::uint64_t tail_;  // pages from here on come and go with the end of the file
  File file_;
  File other_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> kept_;
  std::vector<std::uint64_t> churned_;  // in order
  bool fills_holes_ = true;
  std::atomic<std::uint64_t> changing_{0};  // the page that changes now, or the last below the tail
  std::atomic<unsigned> storing_{kStorers};
  std::atomic<std::uint64_t> stores_{0};
  std::atomic<std::uint64_t> changes_{0};
  unsigned sum_ = 0;
  StoreCount count_;
};

}  // namespace

StoreCount random_stores(Filesystem& fs, const StoreMix& mix) { return Run(fs, mix).go(); }

}  // namespace holdfast::test
