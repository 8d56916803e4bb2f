// userfaultfd(2): the kernel tells this process of touches of pages that are not there, and waits.
//
// One descriptor serves all windows of the process that a thread of the library serves; a second one, if asked for,
// those that are served in the touching thread: there the kernel waits for nobody and raises SIGBUS. What is registered
// with either:
//   shared   MISSING and MINOR: memory of a memfd, of tmpfs or hugetlbfs. MINOR alone refills holes silently.
//   absent   MISSING: anonymous memory that stands where nothing is shown yet.
//   zeros    write protection: anonymous memory that reads as zeros and tells of the first store.
// Registrations survive mremap(2) (EVENT_REMAP), at the price that a mover sleeps until the event is read: the thread
// that reads never moves, and waits for nobody who does.
//
// Semantics: Documentation/admin-guide/mm/userfaultfd.rst and fs/userfaultfd.c of Linux.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <holdfast/types.h>

#include "base/result.h"

namespace holdfast::window {

// What a fault costs whom.
enum class FaultSource : std::uint8_t {
  full,       // system calls on absent pages wait like loads and stores
  user_mode,  // unprivileged: system calls on absent pages answer EFAULT
  in_thread,  // SIGBUS in the touching thread; system calls on absent pages answer EFAULT
};

struct Touch {
  std::byte* address = nullptr;  // of the page
  bool write = false;
  bool protection = false;  // a store to `zeros`
};

class Userfaultfd {
 public:
  // nullptr: this process gets none (HOLDFAST_MASK=uffd, no permission, a kernel before 5.13). EMFILE, ENFILE, ENOMEM:
  // not now.
  static Result<std::unique_ptr<Userfaultfd>> open(ServeFaults serve);
  ~Userfaultfd();
  Userfaultfd(const Userfaultfd&) = delete;
  Userfaultfd& operator=(const Userfaultfd&) = delete;

  FaultSource source() const { return source_; }
  // Whether memory that was never touched can be armed (Linux 6.4).
  bool arms_untouched() const { return arms_untouched_; }
  int fd() const { return fd_; }

  // Each answers 0 or an errno value. Ranges are whole pages of what is mapped there.
  int watch_shared(std::byte* begin, std::size_t length) const;
  int watch_absent(std::byte* begin, std::size_t length) const;
  // Anonymous memory that was just mapped: zeros from now on, a store to which is told.
  int arm_zeros(std::byte* begin, std::size_t length) const;
  // Installs translations of pages that are in memory, and wakes who waits for them. Those that are there already are
  // no error. `page_bytes`: what is mapped there. EAGAIN: a move is under way, and ends when its event is read; EFAULT:
  // a page is not in memory; ENOENT: the mapping is gone. What came before the failure stays installed.
  int resume(std::byte* begin, std::size_t length, std::size_t page_bytes) const;
  // Lets everybody who waits for a page of the range touch it again.
  void wake(std::byte* begin, std::size_t length) const;

  // Waits for touches: at least one. Moves are read and passed over: all that comes of `in_thread`, which never
  // returns.
  std::size_t read(std::span<Touch> touches) const;

 private:
  Userfaultfd(int fd, FaultSource source, bool arms_untouched)
      : fd_(fd), source_(source), arms_untouched_(arms_untouched) {}
  int watch(std::byte* begin, std::size_t length, std::uint64_t modes) const;
  int protect(std::byte* begin, std::size_t length) const;

  const int fd_;
  const FaultSource source_;
  const bool arms_untouched_;
};

}  // namespace holdfast::window
