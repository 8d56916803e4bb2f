// Programs of two or three threads: stores through a window or a pin, and write-back of what they left
// (mapping/write_back.cc). The window is a shadow: a translation that lets stores through or not, and the memory behind
// it.
#include "explore/file_scene.h"

namespace holdfast::explore {
namespace {

struct WrittenBack : FileScene, private mapping::TranslationRemover {
  WrittenBack() {
    file_ = std::make_unique<Mapping>(*map_, owner_, pagemap::FileKey{1, 11}, mapping::Marks::kept);
    file_->set_translation_remover(this);
    insert(0);
  }
  ~WrittenBack() override {
    static_cast<void>(file_->zap(pages_at(0)));
    file_->set_translation_remover(nullptr);
  }

  // A processor stores where the translation lets it; else the fault marks the entry, and it tries again.
  void store() {
    while (!page_.update([](Page& page) {
      page.value += page.writable ? 1 : 0;
      return page.writable;
    })) {
      const auto hold = mapping::Hold::enter(*file_, pages_at(0), Deadline());
      const Result<mapping::EntryLock> locked = file_->mark_dirty(PageIndex(0), Deadline());
      if (!locked) return;  // not the file's any more
      page_.update([](Page& page) { return page.writable = true; });
    }
  }
  void write_back() {
    const int stored = page_.update([](const Page& page) { return page.value; });
    const auto flush = [this](PageIndex /*index*/, Pfn /*pfn*/, PageCount /*count*/) {
      const int value = page_.update([](const Page& page) { return page.value; });
      durable_ = value;
      return Status();
    };
    expect(file_->write_back(pages_at(0), flush, Deadline()).has_value(), "a write-back failed");
    expect(gone_[0] || durable_ >= stored, "S18: a write-back returned before what was stored is durable");
  }
  void after() override {
    FileScene::after();
    if (gone_[0]) return;
    write_back();
    expect(durable_ == page_.update([](const Page& page) { return page.value; }),
           "S17: a store is not durable, and no mark says so");
  }

  struct Page {
    bool writable = false;
    int value = 0;
  };
  Shadow<Page> page_;
  Shadow<int> durable_;

 private:
  void remove_translations(PageRange /*range*/) override {
    page_.update([](Page& page) { return page.writable = false; });
  }
};

struct StoreAndWriteBack final : WrittenBack {
  Threads threads() override {
    return {[this] {
              store();
              store();
            },
            [this] { write_back(); }};
  }
};

struct StoreAndTwoWriteBacks final : WrittenBack {
  Threads threads() override {
    return {[this] { store(); }, [this] { write_back(); }, [this] { write_back(); }};
  }
};

// A device stores for as long as it has a pin, and the pin is taken where the entry is marked.
struct PinAndWriteBack final : WrittenBack {
  Threads threads() override {
    return {[this] {
              for (PinnedRun run;;) {
                if (pin_to_write(run)) return unpin(0, run);
                const Result<mapping::EntryLock> locked = file_->mark_dirty(PageIndex(0), Deadline());
                expect(locked.has_value(), "the entry cannot be marked");
              }
            },
            [this] { write_back(); }};
  }
  bool pin_to_write(PinnedRun& run) {
    const epoch::Guard guard;
    if (file_->try_pin_unit(PageIndex(0), run, Access::write).outcome != PinOutcome::pinned) return false;
    note_pinned(0);
    page_.update([](Page& page) { return ++page.value; });
    return true;
  }
};

// A break takes the page away between a store and its write-back.
struct StoreWriteBackAndBreak final : WrittenBack {
  Threads threads() override {
    return {[this] { store(); }, [this] { write_back(); },
            [this] { expect(take_away(pages_at(0)) == 0, "the break failed"); }};
  }
};

}  // namespace

Programs write_back_programs() {
  return {
      program<StoreAndWriteBack>("store-write-back", "stores through a window and a write-back"),
      program<StoreAndTwoWriteBacks>("store-two-write-backs", "a store through a window and two write-backs"),
      program<PinAndWriteBack>("pin-write-back", "a pin that a device stores through, and a write-back"),
      program<StoreWriteBackAndBreak>("store-write-back-break", "a store, a write-back and a break of the page"),
  };
}

}  // namespace holdfast::explore
