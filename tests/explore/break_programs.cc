// Programs of two or three threads: pins, faults and entry locks beside breaks.
#include <cerrno>

#include "base/wait_queue.h"
#include "explore/file_scene.h"

namespace holdfast::explore {
namespace {

struct PinAndBreak final : FileScene {
  PinAndBreak() { insert(0); }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); }, [this] { expect(take_away(pages_at(0)) == 0, "the break failed"); }};
  }
  void after() override {
    FileScene::after();
    expect(freed_[0], "the page was not freed");
  }
};

// Blocks past the end of the file that nobody waits for: behind the closed gate, and only if nobody has them pinned.
struct PinAndZap final : FileScene {
  PinAndZap() { insert(0); }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); },
            [this] {
              file_->close_gate(pages_at(0), Nanoseconds(0));
              if (!file_->zap(pages_at(0))) {
                free_page(0);
                file_->remove(pages_at(0));
              }
              file_->open_gate(pages_at(0));
            }};
  }
};

struct BatchAndBreak final : FileScene {
  BatchAndBreak() {
    insert(0);
    insert(1);
  }
  Threads threads() override {
    return {[this] { pin_and_unpin_both(); }, [this] { expect(take_away(pages_at(1)) == 0, "the break failed"); }};
  }
};

// The same beside a zap that marks nothing, and the next life of the page.
struct BatchAndZap final : FileScene {
  BatchAndZap() {
    insert(0);
    insert(1);
  }
  Threads threads() override {
    return {[this] { pin_and_unpin_both(); },
            [this] {
              if (file_->zap(pages_at(1))) return;
              free_page(1);
              file_->remove(pages_at(1));
              insert(*file_, 4096, page_of(1));
            }};
  }
};

struct HolderAndBreak final : FileScene {
  HolderAndBreak() {
    insert(0);
    static_cast<void>(pin(0, run_));
  }
  Threads threads() override {
    return {[this] { unpin(0, run_); }, [this] { expect(take_away(pages_at(0)) == 0, "the break failed"); }};
  }
  PinnedRun run_;
};

struct FaultAndBreak final : FileScene {
  FaultAndBreak() { insert(0); }
  Threads threads() override {
    return {[this] { static_cast<void>(fault(0)); },
            [this] { expect(take_away(pages_at(0)) == 0, "the break failed"); }};
  }
  void after() override {
    FileScene::after();
    expect_untracked(0);
  }
};

// A break zaps and gives up, as it does where a page shared with another file turns out pinned; then the page is
// touched and pinned again, beside another break.
struct ZappedAndTouchedAgain final : FileScene {
  ZappedAndTouchedAgain() {
    insert(0);
    static_cast<void>(file_->zap(pages_at(0)));
  }
  Threads threads() override {
    return {[this] {
              if (!fault(0)) return;
              PinnedRun run;
              const PinOutcome outcome = pin(0, run);
              // In this order: a break that is over has taken the page away before.
              const bool breaking = file_->active_break(pages_at(0)).has_value();
              expect(outcome != PinOutcome::absent || breaking || gone_[0], "a page that was touched cannot be pinned");
              if (outcome == PinOutcome::pinned) unpin(0, run);
            },
            [this] { expect(take_away(pages_at(0)) == 0, "the break failed"); }};
  }
};

struct LockedEntryAndBreak final : FileScene {
  LockedEntryAndBreak() {
    insert(0);
    insert(1);
  }
  Threads threads() override {
    return {[this] {
              const auto hold = mapping::Hold::enter(*file_, pages_at(0), Deadline());
              if (!hold || gone_[0]) return;
              static_cast<void>(file_->lock_entry(PageIndex(0), kOrder4K, Deadline()));
            },
            [this] {
              // The walk alone: it may meet the lock, as there is no gate.
              static_cast<void>(file_->zap(pages_at(0, 2)));
              expect(!file_->lookup(PageIndex(0)).tracks() && !file_->lookup(PageIndex(1)).tracks(),
                     "S7: a zap left an entry out");
            }};
  }
};

// Two walks meet the same locked entry, as a break's zap and that of blocks past the end do.
struct LockedEntryAndTwoZaps final : FileScene {
  LockedEntryAndTwoZaps() { insert(0); }
  Threads threads() override {
    return {[this] { static_cast<void>(file_->lock_entry(PageIndex(0), kOrder4K, Deadline())); },
            [this] { static_cast<void>(file_->zap(pages_at(0))); },
            [this] {
              static_cast<void>(file_->zap(pages_at(0)));
              file_->remove(pages_at(0));
            }};
  }
  void after() override {
    FileScene::after();
    expect(map_->references() == 0, "S7: a zap left an entry out");
  }
};

// The last unpin of a page that left its file, beside the next file that gets the page.
struct LastUnpinAndNextOwner final : FileScene {
  LastUnpinAndNextOwner() {
    insert(0);
    static_cast<void>(pin(0, run_));
    static_cast<void>(file_->zap(pages_at(0)));
    file_->remove(pages_at(0));
  }
  Threads threads() override {
    return {[this] { unpin(0, run_); },
            [this] {
              const auto idle = [this] { return map_->announce_waiter(page_of(0), kOrder4K).pins() == 0; };
              while (wait_until(&map_->count(page_of(0), kOrder4K), Deadline(), idle) != ParkOutcome::unparked) {
              }
              insert(*other_, 3, page_of(0));
            }};
  }
  void after() override {
    FileScene::after();
    expect(owner_.puts == 1, "the last put was not told once");
  }
  PinnedRun run_;
};

struct BreakByFail final : FileScene {
  BreakByFail() { insert(0); }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); },
            [this] {
              BreakOptions options;
              options.on_pinned = OnPinned::fail;
              const int code = take_away(pages_at(0), options);
              expect(code == 0 || code == EBUSY, "a break by fail said something else");
            }};
  }
};

// The tree loses the leaf that a pin looks at, and the page is named at another index.
struct PinAndMovedEntry final : FileScene {
  PinAndMovedEntry() { insert(0); }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); },
            [this] {
              expect(take_away(pages_at(0)) == 0, "the break failed");
              insert(*file_, 4096, page_of(0));
            }};
  }
};

struct TwoPinsAndBreak final : FileScene {
  TwoPinsAndBreak() { insert(0); }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); }, [this] { pin_and_unpin(0); },
            [this] { expect(take_away(pages_at(0)) == 0, "the break failed"); }};
  }
};

// While a break waits for the pin, another thread faults on the page, and the holder pins a neighbour.
struct FaultsWhileABreakWaits final : FileScene {
  FaultsWhileABreakWaits() {
    insert(0);
    insert(1);
    static_cast<void>(pin(0, run_));
  }
  Threads threads() override {
    return {[this] {
              pin_and_unpin(1);
              unpin(0, run_);
            },
            [this] { static_cast<void>(fault(0)); },
            [this] { expect(take_away(pages_at(0)) == 0, "the break failed"); }};
  }
  void after() override {
    FileScene::after();
    expect_untracked(0);
  }
  PinnedRun run_;
};

struct TwoBreaks final : FileScene {
  TwoBreaks() {
    insert(0);
    insert(1);
    static_cast<void>(pin(1, run_));
  }
  Threads threads() override {
    return {[this] { expect(take_away(pages_at(0, 2)) == 0, "the first break failed"); },
            [this] { expect(take_away(pages_at(1)) == 0, "the second break failed"); }, [this] { unpin(1, run_); }};
  }
  PinnedRun run_;
};

struct BreakByDetach final : FileScene {
  BreakByDetach() { insert(0); }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); }, [this] { static_cast<void>(fault(0)); },
            [this] {
              BreakOptions options;
              options.on_pinned = OnPinned::detach;
              expect(take_away(pages_at(0), options) == 0, "a detach failed");
            }};
  }
  void after() override {
    FileScene::after();
    expect_untracked(0);
    expect(map_->read(page_of(0), kOrder4K).refcount() == 0, "a reference is left behind");
  }
};

}  // namespace

Programs break_programs() {
  return {
      program<PinAndBreak>("pin-break", "a pin and a break of its page"),
      program<PinAndZap>("pin-zap", "a pin and a zap that waits for nobody"),
      program<BatchAndBreak>("batch-break", "a pin of two pages and a break of the second"),
      program<BatchAndZap>("batch-zap", "a pin of two pages and a zap of the second"),
      program<HolderAndBreak>("unpin-break", "the unpin that a break waits for"),
      program<FaultAndBreak>("fault-break", "a fault and a break of its page"),
      program<ZappedAndTouchedAgain>("zap-fault-pin-break", "a zapped entry touched, pinned and broken"),
      program<LockedEntryAndBreak>("lock-zap", "an entry's lock and a zap that meets it"),
      program<LockedEntryAndTwoZaps>("lock-zap-zap", "an entry's lock and two walks that meet it"),
      program<LastUnpinAndNextOwner>("unpin-reuse", "the last unpin of a page and its next owner"),
      program<BreakByFail>("pin-fail", "a pin and a break that does not wait"),
      program<PinAndMovedEntry>("pin-move", "a pin and a page that moves to another index"),
      program<TwoPinsAndBreak>("pin-pin-break", "two pins and a break"),
      program<FaultsWhileABreakWaits>("holder-fault-break", "faults and pins of neighbours while a break waits"),
      program<TwoBreaks>("break-break-unpin", "two overlapping breaks and the unpin that both wait for"),
      program<BreakByDetach>("pin-fault-detach", "a pin, a fault and a detach"),
  };
}

}  // namespace holdfast::explore
