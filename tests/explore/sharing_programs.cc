// Programs of two or three threads: pages that several files have.
#include "explore/file_scene.h"

namespace holdfast::explore {
namespace {

// Two files let go of a page that they share while it is pinned through one of them: who is the last to let go frees
// it, unless it is held.
struct TwoFilesLetGo final : FileScene {
  TwoFilesLetGo() {
    share(0);
    static_cast<void>(pin(0, run_));
  }
  Threads threads() override {
    return {[this] { unpin(0, run_); }, [this] { let_go(*file_, 0, 0); }, [this] { let_go(*other_, 5, 0); }};
  }
  void after() override {
    FileScene::after();
    expect(freed_[0] || quarantined_[0], "a page that nobody has is lost");
  }
  PinnedRun run_;
};

// A file gets a copy of a page that it shares, beside a pin of the old one and the other file's end.
struct CopyOnWrite final : FileScene {
  CopyOnWrite() { share(0); }
  Threads threads() override {
    return {[this] {
              PinnedRun run;
              {
                const epoch::Guard guard;
                if (file_->try_pin_unit(PageIndex(0), run).outcome != PinOutcome::pinned) return;
              }
              const std::uint64_t page = (run.first - page_of(0)).raw();  // the old one, or the copy
              note_pinned(page);
              unpin(page, run);
            },
            [this] {
              let_go(*file_, 0, 0);
              insert(*file_, 0, page_of(1));
            },
            [this] { let_go(*other_, 5, 0); }};
  }
};

// The last file that has a page makes it its own, beside a break of it and a pin.
struct OwnAndBreak final : FileScene {
  OwnAndBreak() {
    share(0);
    let_go(*other_, 5, 0);
  }
  Threads threads() override {
    return {[this] { pin_and_unpin(0); }, [this] { make_own(0); },
            [this] { expect(take_away(pages_at(0)) == 0, "the break failed"); }};
  }
};

}  // namespace

Programs sharing_programs() {
  return {
      program<TwoFilesLetGo>("shared-last", "two files let go of a page, and the unpin"),
      program<CopyOnWrite>("shared-copy", "a copy for one of two files, a pin of the old page, the other's end"),
      program<OwnAndBreak>("shared-own-break", "the last of its files makes a page its own, a pin and a break"),
  };
}

}  // namespace holdfast::explore
