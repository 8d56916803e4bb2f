// A function on a thread of its own, whose end a test waits for, but never for ever.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <thread>
#include <utility>

namespace holdfast::test {

template <typename Value>
class Task {
 public:
  template <typename Function>
  explicit Task(Function function) {
    std::packaged_task<Value()> task(std::move(function));
    result_ = task.get_future();
    thread_ = std::thread(std::move(task));
  }
  ~Task() {
    if (!thread_.joinable()) return;
    stop_unless_done();
    thread_.join();
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  bool done() const { return result_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }
  // The function's result, once. A thread that has not ended after a minute hangs: the process stops, since it
  // can neither be joined nor left.
  Value get() {
    stop_unless_done();
    thread_.join();
    return result_.get();
  }
  // For signals.
  std::thread::native_handle_type handle() { return thread_.native_handle(); }

 private:
  void stop_unless_done() const {
    if (result_.wait_for(std::chrono::seconds(60)) == std::future_status::ready) return;
    static_cast<void>(std::fprintf(stderr, "a thread of this test hangs\n"));
    std::abort();
  }

  mutable std::future<Value> result_;
  std::thread thread_;
};

template <typename Function>
Task(Function) -> Task<std::invoke_result_t<Function>>;

}  // namespace holdfast::test
