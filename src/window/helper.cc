#include "window/helper.h"

#include <utility>

#include "base/wait_queue.h"
#include "window/file_windows.h"
#include "window/service_thread.h"

namespace holdfast::window {

bool Helper::start() {
  return start_service_thread("holdfast-helper", [this] { help(); });
}

void Helper::ask(Request& request) {
  {
    const MutexLock lock(lock_);
    *last_ = &request;
    last_ = &request.next;
  }
  parker_.unpark();
}

Helper::Request* Helper::take() {
  const MutexLock lock(lock_);
  Request* const request = first_;
  if (request == nullptr) return nullptr;
  first_ = request->next;
  if (first_ == nullptr) last_ = &first_;
  return request;
}

void Helper::help() {
  for (;;) {
    Request* const request = take();
    if (request == nullptr) {
      static_cast<void>(parker_.park(Deadline::never()));
      continue;
    }
    {
      View& view = *request->view;
      const View::Use use(view);
      if (use.granted()) {
        view.file().serve(view, request->touch);
      } else {
        view.faults()->wake(request->touch.address, kPageBytes);
      }
    }
    request->served();
  }
}

void Helper::serve_and_wait(std::shared_ptr<View> view, const Touch& touch) {
  struct Sleeping final : Request {
    std::atomic<bool> done{false};
    void served() override {
      const void* const key = this;
      // release: partner is the load of the sleeper, whose stack this is.
      done.store(true, std::memory_order_release);
      wake(key);
    }
  };
  Sleeping request;
  request.view = std::move(view);
  request.touch = touch;
  ask(request);
  // acquire: partner is the store in served.
  const auto done = [&request] { return request.done.load(std::memory_order_acquire); };
  while (!done()) static_cast<void>(wait_until(&request, Deadline::never(), done));
}

}  // namespace holdfast::window
