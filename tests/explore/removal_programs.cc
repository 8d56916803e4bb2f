// Programs of two or three threads: the end of a device, and the end of a file.
#include "explore/file_scene.h"
#include "layout/final.h"

namespace holdfast::explore {
namespace {

struct InsertAndClose final : FileScene {
  Threads threads() override {
    return {[this] {
              const auto hold = mapping::Hold::enter(*file_, pages_at(0), Deadline());
              static_cast<void>(file_->insert(PageIndex(0), page_of(0), kOrder4K, Deadline()));
            },
            [this] {
              map_->close();
              static_cast<void>(file_->zap(pages_at(0)));
              drained_ = map_->references() == 0;
            }};
  }
  void after() override {
    FileScene::after();
    expect(!drained_ || map_->references() == 0, "a page is tracked on a device that is gone");
  }
  bool drained_ = false;
};

// A raw device that is removed (devdax/remove.cc): closed, taken from windows, drained, its entries deleted.
struct Kill : FileScene {
  void kill() {
    map_->close();
    file_->close_gate(kAll, Nanoseconds::max());
    static_cast<void>(file_->zap(kAll));
    file_->open_gate(kAll);
    Result<Break> last = Break::wait(*file_, kAll, {});
    expect(last.has_value(), "the drain failed");
    for (;;) {
      if (std::optional<layout::Commit> commit = last->commit()) {
        commit->remove_entries();
        return free_page(0);
      }
      expect(last->again_wait().has_value(), "the drain failed");
    }
  }
  void after() override {
    FileScene::after();
    expect(file_->entry_pages() == PageCount(0), "D14: an entry is left on a device that is gone");
    expect(map_->read(page_of(0), kOrder4K).refcount() == 0, "S12: a page of a device that is gone is in use");
  }
  static constexpr PageRange kAll{PageIndex(0), kEndOfFile};
};

struct KillAndPin final : Kill {
  KillAndPin() { insert(0); }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); }, [this] { kill(); }};
  }
};

// What a pin of a page does that nobody has touched: an entry first, then the count.
struct KillAndFirstPin final : Kill {
  Threads threads() override {
    return {[this] {
              static_cast<void>(fault(0));
              pin_and_unpin(0);
            },
            [this] { kill(); }};
  }
};

struct KillPinAndFault final : Kill {
  KillPinAndFault() { insert(0); }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); }, [this] { static_cast<void>(fault(0)); }, [this] { kill(); }};
  }
};

struct KillAndHolder final : Kill {
  KillAndHolder() {
    insert(0);
    static_cast<void>(pin(0, run_));
  }
  Threads threads() override {
    return {[this] { unpin(0, run_); }, [this] { static_cast<void>(fault(0)); }, [this] { kill(); }};
  }
  PinnedRun run_;
};

// The last handle of a file without a name is gone (filesystem/evict.cc): its entries go at once, its pages when nobody
// holds them. Either a look finds a page idle, or the unpin that makes it so comes after it and asks for another.
struct Evicted : FileScene {
  explicit Evicted(unsigned pins) : runs_(pins) {
    insert(0);
    for (PinnedRun& run : runs_) static_cast<void>(pin(0, run));
  }
  void evict() {
    static_cast<void>(layout::break_final(*file_));
    look();
  }
  void look() {
    owner_.asked = false;
    if (map_->idle(page_of(0))) free_page(0);
  }
  void after() override {
    FileScene::after();
    if (!freed_[0]) {
      expect(owner_.asked, "nobody tells the worker that the page is idle");
      look();
    }
    expect(freed_[0] && map_->references() == 0, "a page that nobody has is lost");
    expect(file_->entry_pages() == PageCount(0), "an evicted file has entries");
  }
  std::vector<PinnedRun> runs_;
};

struct EvictAndHolder final : Evicted {
  EvictAndHolder() : Evicted(1) {}
  Threads threads() override {
    return {[this] { unpin(0, runs_[0]); }, [this] { evict(); }};
  }
};

struct EvictAndTwoHolders final : Evicted {
  EvictAndTwoHolders() : Evicted(2) {}
  Threads threads() override {
    return {[this] { unpin(0, runs_[0]); }, [this] { unpin(0, runs_[1]); }, [this] { evict(); }};
  }
};

}  // namespace

Programs removal_programs() {
  return {
      program<InsertAndClose>("insert-close", "an insert and the end of the device"),
      program<KillAndPin>("kill-pin", "the end of a raw device and a pin"),
      program<KillAndFirstPin>("kill-fault", "the end of a raw device and the first touch and pin of a page"),
      program<KillPinAndFault>("kill-pin-fault", "the end of a raw device, a pin and a fault"),
      program<KillAndHolder>("kill-unpin-fault", "the end of a raw device, the unpin that it waits for, a fault"),
      program<EvictAndHolder>("evict-unpin", "the end of a file, and the unpin of its page"),
      program<EvictAndTwoHolders>("evict-unpin-unpin", "the end of a file, and two unpins of its page"),
  };
}

}  // namespace holdfast::explore
