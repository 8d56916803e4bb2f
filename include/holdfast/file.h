// File: an open file of a mounted file system.
//
// Common to all functions here: offsets and lengths are bytes; from any thread at once; a File is inert in a forked
// child (ECHILD). The semantics are those of the system call named, unless said otherwise. Library calls check no
// permissions: who links the library has the pool.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/error.h>
#include <holdfast/lease.h>
#include <holdfast/pin.h>
#include <holdfast/types.h>
#include <holdfast/units.h>
#include <holdfast/window.h>

namespace holdfast {

namespace filesystem {
class OpenFile;
}

// How an operation that takes blocks away treats pins in its range.
struct BreakOptions {
  OnPinned on_pinned = OnPinned::wait;
  // Of the wait: for pins, with `wait`; for another break of the range, with all three (ETIMEDOUT); for a read or write
  // of the range that is in progress and lasts, with `wait` and `fail` (ETIMEDOUT).
  std::chrono::nanoseconds deadline = kForever;
};

enum class FileKind : std::uint8_t { regular, directory, symlink, character_device, block_device, fifo, socket };

struct TimeStamp {
  std::int64_t seconds = 0;  // since 1970
  std::uint32_t nanoseconds = 0;
};

struct Stat {
  std::uint32_t inode = 0;
  FileKind kind = FileKind::regular;
  std::uint32_t permissions = 0;  // the low 12 bits of st_mode
  std::uint32_t links = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  std::uint64_t allocated = 0;  // bytes of blocks
  TimeStamp accessed;
  TimeStamp modified;
  TimeStamp changed;
  TimeStamp created;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
};

struct ExtentInfo {
  std::uint64_t offset = 0;  // in the file
  std::uint64_t device_offset = 0;
  std::uint64_t length = 0;
  bool unwritten = false;
  std::uint64_t unit_max = 4 * KiB;  // largest unit in which this carrier may map some of it: 4 KiB, 2 MiB or 1 GiB
};

enum class Allocate : std::uint8_t {
  extend,     // fallocate(2) mode 0: blocks for the range, size grows over it
  keep_size,  // FALLOC_FL_KEEP_SIZE
};

class File {
 public:
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();  // gives the handle up; never blocks

  // --- bytes: pread(2), pwrite(2), preadv(2), pwritev(2) ---
  // A signal handler of the program may run in the midst of them, be it for a buffer that faults, but must return: who
  // leaves one by siglongjmp(3) leaves the range held, and no operation that takes blocks away ever gets it.
  // Bytes read; 0 at or past the end. Holes and unwritten blocks read as zeros. Takes no metadata lock once the
  // file's extents are known. EBADF (not opened for reading), EISDIR, EINVAL (more bytes than a size can say), EIO (the
  // memory cannot be read).
  // A buffer may lie in a window. Then also EFAULT (the window is for reading only, was unmapped there, or shows
  // nothing past its file's end), and where the window has a hole: ENOSPC, EROFS; bytes before such a place count.
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const;
  Result<std::size_t> read(std::uint64_t offset, std::span<const iovec> into) const;
  // Bytes written: all, or fewer when the pool filled up in the middle (ENOSPC when none fitted). Into existing
  // blocks it takes no metadata lock. EBADF, EINVAL, EFBIG, EROFS, ENOSPC, EIO; EFAULT, as with read; EINTR (a
  // signal, while a lease was recalled because blocks come): nothing was written.
  Result<std::size_t> write(std::uint64_t offset, std::span<const std::byte> from);
  Result<std::size_t> write(std::uint64_t offset, std::span<const iovec> from);
  // Writes at the end, whatever the end is by then; returns the offset where it went. EBADF, EFBIG, EROFS, ENOSPC,
  // EFAULT (as with read), EINTR (a signal, while another append was in the way, or a lease was recalled): nothing was
  // written. EIO, and EFAULT where the file of the buffer's window is cut short meanwhile: of more than 64 KiB a part
  // may be there.
  Result<std::uint64_t> append(std::span<const std::byte> from);

  // --- size and space ---
  std::uint64_t size() const;
  Result<Stat> stat() const;
  // ftruncate(2). Growing waits for nobody. Shrinking breaks the range that leaves, by the policy: ETIMEDOUT, EBUSY,
  // EDEADLK (every pin in the way is this thread's), EINTR: nothing has changed. ENOSPC: `detach` could not get the
  // inode that keeps the blocks; nothing has changed. EIO: done, but bytes of a page that stays could not be zeroed, as
  // its memory is lost or cannot be written; when growing, nothing has changed. EINVAL, EFBIG, EBADF, EROFS.
  Status truncate(std::uint64_t size, const BreakOptions& options = {});
  // fallocate(2), default and KEEP_SIZE: the range has blocks after, zeros where there were none. ENOSPC: none added.
  // EINTR (a signal, while a lease was recalled): the same. EINVAL, EFBIG, EBADF, EROFS.
  Status allocate(std::uint64_t offset, std::uint64_t length, Allocate mode = Allocate::extend);
  // FALLOC_FL_PUNCH_HOLE | KEEP_SIZE, with a policy as truncate. Parts of a page (of a cluster) are zeroed and keep
  // their block.
  Status punch(std::uint64_t offset, std::uint64_t length, const BreakOptions& options = {});
  // FALLOC_FL_ZERO_RANGE (extends the size): the range reads as zeros after and has blocks. Policy as truncate; but
  // what fails after the blocks came (ETIMEDOUT, EBUSY, EDEADLK, EINTR, ENOSPC) leaves them there. EIO: a page of it
  // could not be zeroed; the others are zeros.
  Status zero_range(std::uint64_t offset, std::uint64_t length, const BreakOptions& options = {});
  // truncate and punch without blocking: done(status) runs once on a worker thread; `event_fd`, where >= 0, gets 1
  // added before (eventfd(2)). Errors that are known at once are returned and done is not called.
  using Done = std::function<void(Status)>;
  Status truncate_async(std::uint64_t size, const BreakOptions& options, Done done, int event_fd = -1);
  Status punch_async(std::uint64_t offset, std::uint64_t length, const BreakOptions& options, Done done,
                     int event_fd = -1);
  // lseek(2) SEEK_DATA and SEEK_HOLE: ENXIO past the end (no data after `offset`).
  Result<std::uint64_t> next_data(std::uint64_t offset) const;
  Result<std::uint64_t> next_hole(std::uint64_t offset) const;
  Result<std::vector<ExtentInfo>> extents() const;
  // In what units the file could be mapped as it lies now. Its blocks are looked at, one by one 2 MiB.
  Result<UnitReport> units() const;

  // --- pins ---
  // Keeps the pages of the range in place until the Pin is released; the range must lie below the end of the file.
  // Blocks only while another operation takes the range away (on_break), to the deadline.
  // EAGAIN (a break is waiting and on_break is fail, or a counter is full), EDEADLK (a break is waiting for a pin of
  // this very thread), ETIMEDOUT, ENXIO (read access to a hole, or past the end), ENOSPC, EBADF (write access on a
  // file opened for reading), EINTR; EHWPOISON (memory of the range is lost, see Filesystem::poison), EIO.
  Result<Pin> pin(std::uint64_t offset, std::uint64_t length, const PinOptions& options = {});
  // The same, but never waits and never allocates: EAGAIN when the range is not tracked yet.
  Result<Pin> try_pin(std::uint64_t offset, std::uint64_t length, const PinOptions& options = {});

  // A pin of all blocks of the range whose holder can be asked to let go: see lease.h. Holes stay holes, and are
  // covered: who fills them tells the holder. Blocks while another operation takes the range away (on_break), to the
  // deadline. ENXIO (empty, or past the end), EINVAL (not a regular file), EAGAIN, EDEADLK, ETIMEDOUT, ENOMEM, EIO,
  // EBADF (write access on a file opened for reading), EINTR, EHWPOISON (as pin). Nothing is left behind.
  Result<Lease> lease(std::uint64_t offset, std::uint64_t length, const LeaseOptions& options = {});

  // --- windows: mmap(2) with MAP_SHARED ---
  // Shows [offset, offset + length) of the file as memory; `offset` is a multiple of the carrier's page. The range may
  // reach past the end of the file: what is there is shown once the file has grown. Nothing is allocated, unless
  // options.populate asks or there is no fault source (Window::faults). Blocks on the file's lock.
  // EBADF (not opened for reading, or for writing with write access), EACCES (not a regular file), EINVAL, EOVERFLOW,
  // EROFS, ENOMEM (address space, vm.max_map_count, or a thread), EMFILE, EOPNOTSUPP (a carrier of large pages on which
  // the file does not lie in whole ones; names the byte; options.synchronous, where it cannot be). With populate also
  // ENOSPC, EIO, EHWPOISON. Nothing is left behind.
  Result<Window> map(std::uint64_t offset, std::uint64_t length, const MapOptions& options = {});

  // --- durability: fsync(2), fdatasync(2) ---
  // What was written to the file before the call, by write, through windows, and by holders of pins, is durable after
  // it on carriers that keep anything; elsewhere the metadata is committed, so that a process that dies loses nothing.
  // Block on the carrier. EIO: what was written is on its way, or lost; the pool takes no change any more. EINTR: a
  // signal, on persistent memory; nothing is lost, call again. EINVAL: a range that no file has.
  Status sync();
  Status sync_data();                                            // without times that nothing needs
  Status sync_data(std::uint64_t offset, std::uint64_t length);  // of these bytes; others may be durable, too

  // --- attributes: fchmod(2), fchown(2), futimens(2), fgetxattr(2) and kin ---
  Status set_permissions(std::uint32_t permissions);
  Status set_owner(std::uint32_t uid, std::uint32_t gid);
  Status set_times(TimeStamp accessed, TimeStamp modified);
  Result<std::vector<std::string>> list_attributes() const;
  Result<std::string> attribute(std::string_view name) const;
  Status set_attribute(std::string_view name, std::string_view value);
  Status remove_attribute(std::string_view name);

  // For the layers behind this interface.
  explicit File(std::shared_ptr<filesystem::OpenFile> impl);
  const std::shared_ptr<filesystem::OpenFile>& impl() const { return impl_; }

 private:
  std::shared_ptr<filesystem::OpenFile> impl_;
};

}  // namespace holdfast
