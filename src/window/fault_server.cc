#include "window/fault_server.h"

#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigset_t is POSIX

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/epoch.h"
#include "base/fork.h"
#include "base/mutex.h"
#include "base/parker.h"
#include "window/file_windows.h"
#include "window/registry.h"

namespace holdfast::window {
namespace {

class Server {
 public:
  explicit Server(std::unique_ptr<Userfaultfd> faults) : faults_(std::move(faults)) {}

  bool start() {
    // A signal of the program must not run its handler on these threads: it may touch a window.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      std::thread([this] { read(); }).detach();
      std::thread([this] { help(); }).detach();
    } catch (const std::system_error&) {
      started = false;  // a lone reader reads on, and is given nothing
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }

  const Userfaultfd& faults() const { return *faults_; }

 private:
  struct Request {
    std::shared_ptr<View> view;
    Touch touch;
  };

  [[noreturn]] void read() {
    pthread_setname_np(pthread_self(), "holdfast-fault");
    std::array<Touch, 16> touches;
    for (;;) {
      const std::size_t count = faults_->read(touches);
      for (std::size_t i = 0; i < count; ++i) take(touches.at(i));
    }
  }

  void take(const Touch& touch) {
    std::shared_ptr<View> view = find_and_keep_view(touch.address);
    // A window that is ending, or a part of it that was moved away: the touch shows what is there now.
    if (view == nullptr) return faults_->wake(touch.address, kPageBytes);
    {
      const View::Use use(*view);
      if (!use.granted()) return faults_->wake(touch.address, kPageBytes);
      if (view->file().try_serve(*view, touch)) return;
    }
    {
      const MutexLock lock(lock_);
      requests_.push_back({std::move(view), touch});
    }
    parker_.unpark();
  }

  [[noreturn]] void help() {
    pthread_setname_np(pthread_self(), "holdfast-helper");
    for (;;) {
      Request request;
      {
        const MutexLock lock(lock_);
        if (!requests_.empty()) {
          request = std::move(requests_.front());
          requests_.pop_front();
        }
      }
      if (request.view == nullptr) {
        static_cast<void>(parker_.park(Deadline::never()));
        continue;
      }
      const View::Use use(*request.view);
      if (use.granted()) {
        request.view->file().serve(*request.view, request.touch);
      } else {
        faults_->wake(request.touch.address, kPageBytes);
      }
    }
  }

  const std::unique_ptr<Userfaultfd> faults_;
  Mutex lock_{LockRank::leaf};
  std::deque<Request> requests_ HF_GUARDED_BY(lock_);
  Parker parker_;
};

struct Service {
  Server* server = nullptr;
  bool tried = false;
};

Mutex& starting() {
  static auto* const mutex = new Mutex(LockRank::leaf);
  return *mutex;
}

Service& service() {
  static Service instance;
  return instance;
}

}  // namespace

const Userfaultfd* fault_service() {
  // The threads and the descriptor are the parent's: a child starts over.
  [[maybe_unused]] static const bool registered = [] {
    on_fork_in_child([] {
      service() = {};
      new (&starting()) Mutex(LockRank::leaf);
    });
    return true;
  }();
  const MutexLock lock(starting());
  Service& mine = service();
  if (!mine.tried) {
    mine.tried = true;
    if (std::unique_ptr<Userfaultfd> faults = Userfaultfd::open()) {
      auto server = std::make_unique<Server>(std::move(faults));
      Server* const kept = server.release();  // never ends: its threads use it
      if (kept->start()) mine.server = kept;
    }
  }
  return mine.server == nullptr ? nullptr : &mine.server->faults();
}

}  // namespace holdfast::window
