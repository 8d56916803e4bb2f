// Runs part of a test in a process of its own: for locks between processes, for fork, for mounts that must not be seen.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace holdfast::test {

// How a child ended.
struct ChildEnd {
  bool exited = false;
  int status = 0;       // exit status, when it exited
  int signal = 0;       // what killed it, when it did not
  std::string message;  // what the body returned
};

// A forked child that runs `body` and exits with 0 when it returned an empty string, with 1 and that message otherwise.
// The child ends without destructors or exit handlers of the parent.
class Child {
 public:
  explicit Child(const std::function<std::string(Child&)>& body);
  ~Child();  // ends it, if it still runs
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // In the child: lets the parent's wait_until_ready return, then blocks until the parent calls go_on.
  void ready_and_wait();
  // In the parent. False when the child ended instead.
  bool wait_until_ready();
  void go_on();
  ChildEnd wait();

 private:
  pid_t pid_ = -1;
  int to_parent_ = -1;
  int to_child_ = -1;
};

ChildEnd run_in_child(const std::function<std::string()>& body);

// The same in a mount namespace of its own, in which mounts may be made (as root of a user namespace where the user is
// not root). `unavailable` is set to the reason when there can be none; the body is not run then.
ChildEnd run_with_private_mounts(const std::function<std::string()>& body, std::string& unavailable);

}  // namespace holdfast::test
