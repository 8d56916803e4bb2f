#include "window/fault_server.h"

#include <array>
#include <atomic>
#include <memory>
#include <new>
#include <utility>

#include "base/fork.h"
#include "base/mark.h"
#include "base/mutex.h"
#include "device/bus_error.h"
#include "window/file_windows.h"
#include "window/helper.h"
#include "window/registry.h"
#include "window/service_thread.h"

namespace holdfast::window {
namespace {

// What the reader leaves to the helper.
struct LeftOver final : Helper::Request {
  void served() override { delete this; }
};

class Reader {
 public:
  Reader(std::unique_ptr<Userfaultfd> faults, Helper& helper) : faults_(std::move(faults)), helper_(helper) {}

  // Once it has returned, the program may close what it likes.
  bool start() {
    if (!start_service_thread("holdfast-fault", [this] { read(); })) return false;
    ready_.wait(false, std::memory_order_acquire);  // partner: the store in read
    return true;
  }
  const Userfaultfd& faults() const { return *faults_; }

 private:
  [[noreturn]] void read() {
    keep_descriptor(faults_->fd());
    ready_.store(true, std::memory_order_release);  // partner: the wait in start
    ready_.notify_one();
    std::array<Touch, 16> touches;
    for (;;) {
      const std::size_t count = faults_->read(touches);
      for (std::size_t i = 0; i < count; ++i) take(touches.at(i));
    }
  }

  void take(const Touch& touch) {
    HF_MARK("window.touch_read");
    std::shared_ptr<View> view = find_and_keep_view(touch.address);
    // A window that is ending, or a part of it that was moved away: the touch shows what is there now. Or the touch was
    // served with its neighbours, and the window there is another one, of the other service, whose descriptor this
    // thread does not have. Test: WindowEnd.AnOldTouchMeetsAWindowOfTheOtherService.
    if (view == nullptr || view->faults() != faults_.get()) return faults_->wake(touch.address, kPageBytes);
    {
      const View::Use use(*view);
      if (!use.granted()) return faults_->wake(touch.address, kPageBytes);
      if (view->file().try_serve(*view, touch, false)) return;
    }
    auto* const request = new LeftOver;  // deletes itself
    request->view = std::move(view);
    request->touch = touch;
    helper_.ask(*request);
  }

  const std::unique_ptr<Userfaultfd> faults_;
  Helper& helper_;
  std::atomic<bool> ready_{false};
};

// Of this process: a forked child starts over.
struct Services {
  Reader* touches = nullptr;
  Reader* moves = nullptr;  // of windows served in thread
  bool tried_touches = false;
  bool tried_moves = false;
};

Mutex& starting() {
  static auto* const mutex = new Mutex(LockRank::leaf);
  return *mutex;
}

Services& services() {
  static Services instance;
  return instance;
}

// Of this process, too; atomic, as touching threads read it. Stored under starting().
std::atomic<Helper*> the_helper{nullptr};

// In the signal handler of the touching thread.
bool serve_here(std::byte* address, bool write) {
  std::shared_ptr<View> view = find_and_keep_view(address);
  if (view == nullptr || !view->served_in_thread()) return false;
  HF_MARK("window.in_thread");
  const Touch touch{address - reinterpret_cast<std::uintptr_t>(address) % kPageBytes, write, false};
  {
    const View::Use use(*view);
    if (!use.granted()) return true;  // it is ending: the touch shows what is there now
    if (view->file().try_serve(*view, touch, true)) return true;
    if (view->file().is_bus_error(*view, address)) return false;
  }
  // acquire: partner is the store in start_reader.
  the_helper.load(std::memory_order_acquire)->serve_and_wait(std::move(view), touch);
  return true;
}

const Userfaultfd* faults_of(const Reader* reader) { return reader == nullptr ? nullptr : &reader->faults(); }

Error no_thread() { return {ENOMEM, "windows", "the thread that serves their faults cannot be started"}; }

// nullptr: there is no userfaultfd. What was started is kept for ever: its threads use it.
Result<Reader*> start_reader(ServeFaults serve) {
  HF_ASSIGN(std::unique_ptr<Userfaultfd> faults, Userfaultfd::open(serve));
  if (faults == nullptr) return static_cast<Reader*>(nullptr);
  Helper* helper = the_helper.load(std::memory_order_relaxed);
  if (helper == nullptr) {
    auto made = std::make_unique<Helper>();
    if (!made->start()) return no_thread();
    helper = made.release();
    // release: partner is the load in serve_here.
    the_helper.store(helper, std::memory_order_release);
  }
  auto reader = std::make_unique<Reader>(std::move(faults), *helper);
  if (!reader->start()) return no_thread();
  return reader.release();
}

}  // namespace

Result<const Userfaultfd*> fault_service(ServeFaults serve) {
  // The threads and the descriptors are the parent's: a child starts over.
  [[maybe_unused]] static const bool registered = [] {
    on_fork_in_child([] {
      services() = {};
      the_helper.store(nullptr, std::memory_order_relaxed);
      new (&starting()) Mutex(LockRank::leaf);
    });
    return true;
  }();
  const MutexLock lock(starting());
  Services& mine = services();
  if (serve == ServeFaults::in_thread) {
    if (!mine.tried_moves) {
      HF_ASSIGN(mine.moves, start_reader(ServeFaults::in_thread));
      mine.tried_moves = true;
      if (mine.moves != nullptr) device::serve_bus_errors(serve_here);
    }
    if (mine.moves != nullptr) return faults_of(mine.moves);
  }
  if (!mine.tried_touches) {
    HF_ASSIGN(mine.touches, start_reader(ServeFaults::thread));
    mine.tried_touches = true;
  }
  return faults_of(mine.touches);
}

}  // namespace holdfast::window
