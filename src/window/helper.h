// The thread that serves touches which have to wait: for gates, locks and blocks, or for a move of mappings.
//
// It has its own stack and holds nothing of the toucher's: a touch may come from a small signal stack, or from code
// that holds any lock of the program's.
#pragma once

#include <memory>

#include "base/mutex.h"
#include "base/parker.h"
#include "window/view.h"

namespace holdfast::window {

class Helper {
 public:
  // Begins with ask(); the helper calls served(), after which it touches the request no more.
  struct Request {
    std::shared_ptr<View> view;
    Touch touch;
    Request* next = nullptr;
    virtual void served() = 0;

   protected:
    ~Request() = default;
  };

  // False: no thread can be had.
  bool start();
  // Never waits, never allocates. In the order of asking.
  void ask(Request& request);
  // The same, and waits until it is served. Allocates nothing.
  void serve_and_wait(std::shared_ptr<View> view, const Touch& touch);

 private:
  [[noreturn]] void help();
  Request* take();

  Mutex lock_{LockRank::leaf};
  Request* first_ HF_GUARDED_BY(lock_) = nullptr;
  Request** last_ HF_GUARDED_BY(lock_) = &first_;
  Parker parker_;
};

}  // namespace holdfast::window
