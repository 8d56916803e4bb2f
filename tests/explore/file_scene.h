// What the programs share: two files on one small device, with a shadow of what must hold. Only one thread runs at a
// time and turns change at accesses alone, so that plain variables are exact; Shadow makes theirs known.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "base/epoch.h"
#include "base/mutex.h"
#include "explore/explorer.h"
#include "explore/shadow.h"
#include "layout/break.h"
#include "mapping/hold.h"
#include "mapping/mapping.h"
#include "pagemap/pagemap.h"

namespace holdfast::explore {

using layout::Break;
using layout::BreakOptions;
using mapping::Mapping;
using mapping::PinnedRun;
using PinOutcome = Mapping::PinOutcome;

using Threads = std::vector<std::function<void()>>;

class SilentOwner final : public pagemap::PageOwner {
 public:
  void last_put(Pfn /*first*/, Order /*order*/) noexcept override {
    ++puts;
    asked = true;
  }
  Shadow<int> puts;
  Shadow<bool> asked;  // to look at the file again, as a worker's queue has it
};

class FileScene : public Scene {
 public:
  static constexpr std::uint64_t kPages = 1536;

  FileScene() {
    file_ = std::make_unique<Mapping>(*map_, owner_, pagemap::FileKey{1, 11});
    other_ = std::make_unique<Mapping>(*map_, owner_, pagemap::FileKey{1, 12});
  }
  ~FileScene() override {
    clear(*file_);
    clear(*other_);
    file_.reset();
    other_.reset();
    expect(map_->references() == 0, "P3: a page is in use though nobody has it");
  }
  void after() override {
    for (const Mapping* const file : {file_.get(), other_.get()}) {
      if (const std::optional<std::string> broken = file->check()) fail(*broken);
    }
  }

 protected:
  static constexpr PageRange pages_at(std::uint64_t first, std::uint64_t count = 1) {
    return {PageIndex(first), PageIndex(first + count)};
  }
  // Aligned with its index for every order.
  static constexpr Pfn page_of(std::uint64_t index) { return Pfn(index + 512); }

  void insert(Mapping& file, std::uint64_t index, Pfn pfn, Order order = kOrder4K) {
    const auto hold = mapping::Hold::enter(file, {PageIndex(index), PageIndex(index) + order.pages()}, Deadline());
    expect(hold && file.insert(PageIndex(index), pfn, order, Deadline()).has_value(), "an insert failed");
  }
  void insert(std::uint64_t index, Order order = kOrder4K) { insert(*file_, index, page_of(index), order); }

  // As a fault or a slow pin does it: only what the file owns is inserted. False: it is not the file's any more.
  bool fault(std::uint64_t index) {
    const auto hold = mapping::Hold::enter(*file_, pages_at(index), Deadline());
    if (!hold || gone_.at(index)) return false;
    return file_->insert(PageIndex(index), page_of(index), kOrder4K, Deadline()).has_value();
  }

  // --- holders ---
  PinOutcome pin(std::uint64_t index, PinnedRun& run) {
    const epoch::Guard guard;
    const PinOutcome outcome = file_->try_pin_unit(PageIndex(index), run).outcome;
    if (outcome == PinOutcome::pinned) note_pinned(index);
    return outcome;
  }
  // An access, so that others may run while the page is pinned.
  void use(std::uint64_t index) {
    static_cast<void>(map_->read(page_of(index), kOrder4K));
    expect(!freed_.at(index), "S1: a page was freed while it is pinned");
  }
  void unpin(std::uint64_t index, const PinnedRun& run) {
    use(index);
    --holders_.at(index);
    mapping::unpin(*map_, run);
  }
  void note_pinned(std::uint64_t index) {
    ++holders_.at(index);
    expect(!freed_.at(index), "S1: a page is pinned that was freed");
  }
  void pin_and_unpin_both() {
    std::vector<PinnedRun> runs;
    const epoch::Guard guard;
    if (file_->try_pin(pages_at(0, 2), runs).outcome != PinOutcome::pinned) return;
    for (const std::uint64_t index : {0U, 1U}) note_pinned(index);
    use(1);
    for (const std::uint64_t index : {0U, 1U}) --holders_.at(index);
    for (const PinnedRun& run : runs) mapping::unpin(*map_, run);
  }
  void pin_and_unpin(std::uint64_t index) {
    PinnedRun run;
    if (pin(index, run) == PinOutcome::pinned) unpin(index, run);
  }

  // --- sharing ---
  // Page `index` of the file is page 5 of the other one, too.
  void share(std::uint64_t index) {
    for (const auto& [file, at] : {std::pair(file_.get(), index), std::pair(other_.get(), std::uint64_t{5})}) {
      const auto hold = mapping::Hold::enter(*file, pages_at(at), Deadline());
      expect(file->insert(PageIndex(at), page_of(index), kOrder4K, Deadline(), mapping::Sharing::shared).has_value(),
             "an insert failed");
    }
    files_.at(index) = 2;
  }
  // The file's entry at `at` goes, which names page `index`; whoever is the last to let go of a page decides. No gate:
  // nobody copies here.
  void let_go(Mapping& file, std::uint64_t at, std::uint64_t index) {
    static_cast<void>(file.zap(pages_at(at)));
    file.remove(pages_at(at));
    count_out(index);
  }

  // --- removers ---
  // As a format that shares blocks: one file less has the page. The last one frees it, or leaves it to its holders.
  void count_out(std::uint64_t index) {
    if (--files_.at(index) != 0) return;
    expect(map_->read(page_of(index), kOrder4K).tracked() == 0,
           "S10: the last file let go of a page, another names it");
    if (map_->idle(page_of(index))) {
      free_page(index);
    } else {
      quarantined_.at(index) = true;
    }
  }
  void free_page(std::uint64_t index) {
    expect(holders_.at(index) == 0, "S1: a page is freed that somebody has pinned");
    expect(!freed_.at(index), "a page is freed twice");
    freed_.at(index) = true;
  }
  // What truncate does, once it has the range to itself. The error of stage 1, or 0.
  int take_away(PageRange range, const BreakOptions& options = {}) {
    Result<Break> one = Break::wait(*file_, range, options);
    if (!one) return one.error().code();
    for (;;) {
      {
        const MutexLock lock(inode_lock_);
        if (std::optional<layout::Commit> commit = one->commit()) {
          for (PageIndex at = range.first; at < range.end; at += PageCount(1)) {
            const bool shared = file_->lookup(at).shared();
            const bool busy = !commit->busy(at, page_of(at.raw()), PageCount(1)).empty();
            if (shared) count_out(at.raw());
            if (!shared && !busy && !gone_.at(at.raw())) free_page(at.raw());
            gone_.at(at.raw()) = true;
          }
          commit->remove_entries();
          return 0;
        }
      }
      if (const Status again = one->again_wait(); !again) return again.error().code();
    }
  }
  // As a file system does it: with the file's lock, as a commit has it.
  void make_own(std::uint64_t index) {
    const MutexLock lock(inode_lock_);
    file_->make_own(pages_at(index));
  }
  // Pages that left the file: nothing of it may name them.
  void expect_untracked(std::uint64_t index) {
    expect(!gone_.at(index) || !file_->lookup(PageIndex(index)).tracks(), "a page that left the file is tracked by it");
  }

  Mutex inode_lock_{LockRank::inode};
  SilentOwner owner_;
  std::unique_ptr<pagemap::PageMap> map_ = pagemap::PageMap::create(PageCount(kPages), nullptr).value();
  std::unique_ptr<Mapping> file_;
  std::unique_ptr<Mapping> other_;
  std::array<Shadow<int>, 8> holders_{};
  std::array<Shadow<bool>, 8> freed_{};
  std::array<Shadow<bool>, 8> quarantined_{};                 // held when the last file let go
  std::array<Shadow<int>, 8> files_{1, 1, 1, 1, 1, 1, 1, 1};  // that have the page
  std::array<Shadow<bool>, 8> gone_{};

 private:
  static void clear(Mapping& file) {
    static_cast<void>(file.zap({PageIndex(0), kEndOfFile}));
    file.remove({PageIndex(0), kEndOfFile});
  }
};

// A program whose threads are lambdas over a scene.
template <typename SceneType>
Program program(const char* name, const char* about) {
  return {name, about, [] { return std::make_unique<SceneType>(); }};
}

using Programs = std::vector<Program>;
Programs break_programs();
Programs removal_programs();
Programs sharing_programs();
Programs write_back_programs();
const Programs& programs();

}  // namespace holdfast::explore
