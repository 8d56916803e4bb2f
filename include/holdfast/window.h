// Window: a file as memory. Loads and stores go to the file's own pages; truncate, punch and eviction take them away
// again, and no window ever shows another file's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <holdfast/error.h>
#include <holdfast/types.h>

namespace holdfast {

namespace window {
class View;
}

// Who serves touches of pages that are not there.
enum class Faults : std::uint8_t {
  full,       // userfaultfd(2): loads, stores and system calls wait while a page is brought
  user_mode,  // unprivileged userfaultfd: a system call on an absent page answers EFAULT; touch or populate it before
  in_thread,  // as user_mode, and served in the touching thread's SIGBUS: see MapOptions::faults
  none,       // no userfaultfd, or a pool mounted read-only: map() brings everything, and gives holes blocks for write
              // access; holes that come later read as zeros and refuse stores (SIGSEGV)
};

struct MapOptions {
  Access access = Access::write;
  bool populate = false;  // every page is there when map returns; for write access holes get blocks (ENOSPC)
  // in_thread: a touch of a page that has a block is served in the touching thread, and wakes nobody. The library's
  // SIGBUS handler does so, and the thread must let it:
  //   - a thread that blocks SIGBUS ends the process by such a touch;
  //   - a SIGBUS handler that the program installs after its first device passes on what it does not know. What is not
  //     the library's (past the end, no space) goes to the handler that was there before, with its exact address;
  //   - a program whose own malloc lives in the window populates it (with thread, too).
  // A wish: Window::faults() tells what became of it. A carrier that userfaultfd cannot watch (a file on a disk,
  // /dev/dax) is served by the library's thread, and without userfaultfd there are no faults.
  ServeFaults faults = ServeFaults::thread;
  // As MAP_SYNC of mmap(2): what a program stores and flushes itself (clwb or its like for each line, then sfence) is
  // there after a power failure, with no sync: in a file that has the block, and reaches as far. So it is on persistent
  // memory (/dev/dax) for every window, and every pin, whether this is asked for or not; asked for it fails with
  // EOPNOTSUPP where it is not so: on other carriers, and for write access where there is no fault source.
  // The first touch of a block that is not durably the file's yet waits for a commit.
  bool synchronous = false;
};

// Of a file, or of a raw device (holdfast/raw_device.h), which has no holes and no end but its removal.
//
// Move-only. The file stays open as long as the window lives. From any thread; the program ends its own use of the
// addresses before the window ends. In a forked child the addresses are not mapped, and the object is inert.
//
// As with mmap(2): a touch past the page that holds the end of the file is SIGBUS, and EFAULT to system calls; bytes
// between the end of the file and the end of its page may be stored and are lost. A store that finds no space, and a
// load of memory that cannot be read, are SIGBUS too; allocate or populate first where that must not happen. Such a
// page stays a bus error until a write to it, populate, or growth of the file shows it again, also when there is space
// by then.
//
// A handler of a signal touches no window, however it is served, when it may have interrupted the library or malloc:
// the touch may wait for a lock that its own thread holds. Names, paths and values that are given to the library, and
// buffers and lists of them, may lie in windows; objects of the library and structures of options may not.
//
// A pin of the range outlives the window and what becomes of it.
class Window {
 public:
  Window(Window&&) noexcept;
  Window& operator=(Window&&) noexcept;
  ~Window();  // munmap(2). Waits for faults being served (bounded)

  std::span<std::byte> bytes() const;
  std::byte* data() const;
  std::uint64_t size() const;    // bytes, as asked for
  std::uint64_t offset() const;  // in the file
  Faults faults() const;

  // Brings the range as MapOptions::populate does. Blocks as a fault does: on the file's lock and a truncate's commit.
  // EINVAL (outside of the window), ENOSPC, EIO, ENOMEM, ENODEV; part may be there then.
  Status populate(std::uint64_t offset, std::uint64_t length);
  // msync(2) with MS_SYNC: stores to the range are durable afterwards, where the carrier is. EINVAL, EIO.
  Status sync(std::uint64_t offset, std::uint64_t length);
  // munmap(2) of a part, whole pages of the carrier or units of the raw device: a touch is SIGSEGV from then on.
  // EINVAL, ENOMEM.
  Status unmap(std::uint64_t offset, std::uint64_t length);

  // For the layers behind this interface.
  Window(std::shared_ptr<window::View> impl, std::uint64_t size);

 private:
  void close() noexcept;
  std::shared_ptr<window::View> impl_;
  std::uint64_t size_ = 0;
};

}  // namespace holdfast
