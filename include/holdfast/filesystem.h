// Filesystem: a mounted pool. Names, directories, space, and who holds what.
//
// Paths are absolute ("/a/b"); `.`, `..` and repeated slashes mean what they mean elsewhere; symbolic links are
// followed inside the pool (ELOOP after 40), except by functions whose name or comment says they are not. Every
// function may be called from any thread; none checks permissions. Errors common to all that take paths: ENOENT,
// ENOTDIR, ENAMETOOLONG (a name over 255 bytes), ELOOP, EINVAL (not absolute), EUCLEAN (damaged metadata, the reason
// says where), EIO; to all that change: EROFS, ENOSPC.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/device.h>
#include <holdfast/error.h>
#include <holdfast/file.h>
#include <holdfast/lease.h>
#include <holdfast/pin.h>
#include <holdfast/types.h>
#include <holdfast/units.h>

namespace holdfast {

namespace filesystem {
class Core;
}

// Flags of open, as open(2).
enum class Open : std::uint32_t {
  read = 1,
  write = 2,
  read_write = 3,
  create = 4,      // O_CREAT
  exclusive = 8,   // O_EXCL: EEXIST
  truncate = 16,   // O_TRUNC, with the default policy (wait)
  no_follow = 32,  // O_NOFOLLOW: ELOOP on a symbolic link
  // O_DSYNC: what write and append have stored is durable when they return, as after sync_data of the range. EIO then
  // says that it is stored and may not be durable.
  data_sync = 64,
  sync = 128,  // O_SYNC: as data_sync, with the file's times
};
constexpr Open operator|(Open a, Open b) {
  return static_cast<Open>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr bool has(Open flags, Open flag) {
  return (static_cast<std::uint32_t>(flags) & static_cast<std::uint32_t>(flag)) == static_cast<std::uint32_t>(flag);
}

enum class Rename : std::uint8_t { replace, no_replace, exchange };  // rename(2), RENAME_NOREPLACE, RENAME_EXCHANGE
enum class Follow : std::uint8_t { yes, no };                        // the last component, if it is a symbolic link

struct MountOptions {
  bool read_only = false;
  Units units = Units::make;
  // The caller knows that no transfer of a process that died with the pool open is under way any more (it has seen all
  // of them complete; or, of /dev/dax, the driver was unbound and bound again): see mount.
  bool trust_memory = false;
};

struct DirectoryEntry {
  std::string name;
  std::uint32_t inode = 0;
  FileKind kind = FileKind::regular;
};

struct SpaceInfo {
  std::uint64_t total = 0;        // bytes for files and their metadata
  std::uint64_t free = 0;         // nobody's, and can be handed out
  std::uint64_t withheld = 0;     // nobody's, but a dead process's transfers may reach it (see mount), or it is lost
  std::uint64_t bad = 0;          // never handed out: on the medium's list of bad blocks; counted as used
  std::uint64_t available = 0;    // of the free ones, not reserved
  std::uint64_t quarantined = 0;  // out of their files, held by pins still; counted as used
  std::uint64_t block = 4096;
  std::uint64_t cluster = 4096;
  std::uint64_t inodes = 0;
  std::uint64_t free_inodes = 0;
  std::string uuid;
  std::string label;
};

// Blocks that left their file and wait for their last unpin.
struct QuarantineInfo {
  std::uint32_t inode = 0;  // the orphan that owns them
  std::uint64_t bytes = 0;
  bool evicted = false;  // a whole file without names, or pieces that were truncated or punched away
};

// What the mount brought back of a former life that did not end cleanly.
struct RecoveryInfo {
  std::uint32_t transactions = 0;    // of the journal; 0: there was nothing to replay
  std::uint64_t blocks = 0;          // brought home, or, for a mount that only reads, into memory
  std::uint64_t revoked = 0;         // copies that were not to be replayed any more
  bool in_memory = false;            // the medium was not changed
  bool superblock_restored = false;  // from the journal: a write of it had been cut short
  std::uint32_t predecessor = 0;     // pid of a process that died in this boot with the pool open: see mount; 0: none
  bool keeps_orphans = false;        // on its account, what it left unlinked stays as it is
};

enum class BadState : std::uint8_t {
  in_use,    // a file's or the format's own: no list on the medium says that it is lost
  withheld,  // free, not handed out, and not on the list: there was no space for it, or it waits for a commit
  retired,   // on the medium's list of bad blocks (inode 1)
};

// Memory that is lost: see poison.
struct BadRange {
  std::uint64_t offset = 0;  // bytes of the device
  std::uint64_t length = 0;
  BadState state = BadState::in_use;
};

// What a verification found.
struct VerifyReport {
  std::vector<std::string> problems;  // one line each: the object ("inode 12", "group 3") and what is wrong with it
  std::uint64_t problems_untold = 0;  // beyond the first thousand
  std::uint64_t files = 0;            // inodes in use, by kind
  std::uint64_t directories = 0;
  std::uint64_t symlinks = 0;
  std::uint64_t nodes = 0;
  std::uint64_t names = 0;  // without `.` and `..`

  bool sound() const { return problems.empty(); }
};

// How far a verification is, in steps of its own. False ends it.
using VerifyProgress = std::function<bool(std::uint64_t done, std::uint64_t of)>;

struct NodeOptions {
  FileKind kind = FileKind::fifo;  // fifo, socket, character_device, block_device, regular
  std::uint32_t permissions = 0644;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
};

struct UnmountOptions {
  std::chrono::nanoseconds deadline{0};  // how long to wait for files and pins to go; 0: not at all, as umount(2)
};

class Filesystem {
 public:
  // Mounts the file system on the device, which it takes. What a crash left in the journal is replayed first; a mount
  // that only reads keeps it in memory and changes nothing. While mounted for writing the image is marked as in use:
  // its journal needs recovery, or, without one, it is not clean. Errors name what is wrong and the remedy: EINVAL (not
  // an ext4 image), ENOTSUP (a feature, by name), EUCLEAN (damaged, or not closed cleanly and without a journal: run
  // e2fsck -p), EROFS (device opened read-only and read_only not asked).
  //
  // After a process died with the pool open, in this boot of the kernel, what it told devices to write may still come:
  // an io_uring read outlives the process that began it, and writes to its pages, whoever has them then. So a mount for
  // writing gives free blocks other memory before it hands any out, and blocks that were in use are withheld when they
  // are freed (SpaceInfo::withheld), until a later mount has given them other memory, or another boot. Register the
  // window with a device after the mount, not before. Pools on disks are spared where the page cache shows that no page
  // is held. On /dev/dax memory cannot be replaced: there orphans are kept, until another boot. MountOptions and
  // trust_memory take the word of a caller who knows better.
  static Result<Filesystem> mount(Device device, const MountOptions& options = {});

  Filesystem(Filesystem&&) noexcept;
  Filesystem& operator=(Filesystem&&) noexcept;
  // Never blocks. With open files or pins left the pool lives on until the last of them goes; what is still on the
  // orphan list then leaves the image marked as in use.
  ~Filesystem();

  // Commits everything and closes the pool. With open files or pins: EBUSY naming them, or, when a deadline was given
  // and they are still there at its end, ETIMEDOUT; the file system stays mounted. With kForever a handle of the
  // calling thread itself is waited for too. EIO: the image could not be written.
  Status unmount(const UnmountOptions& options = {});

  // --- files ---
  Result<File> open(std::string_view path, Open flags, std::uint32_t permissions = 0644);
  // A file without a name (O_TMPFILE), linked in when whole, gone with its last handle and pin otherwise.
  Result<File> open_unnamed(std::uint32_t permissions = 0644);
  Status link_unnamed(const File& file, std::string_view path);
  Result<Stat> stat(std::string_view path, Follow follow = Follow::yes) const;
  Status unlink(std::string_view path);
  Status rename(std::string_view from, std::string_view to, Rename mode = Rename::replace);
  Status link(std::string_view existing, std::string_view path);  // does not follow a symbolic link, as link(2)
  Status symlink(std::string_view target, std::string_view path);
  Result<std::string> read_symlink(std::string_view path) const;
  Status make_node(std::string_view path, const NodeOptions& options);

  // --- directories ---
  Status make_directory(std::string_view path, std::uint32_t permissions = 0755);
  Status remove_directory(std::string_view path);
  // `visit` gets every name but `.` and `..`, in the order of the directory's hashes, until it returns false. Names
  // added or removed meanwhile may or may not be seen; those that stay are seen once.
  Status list(std::string_view path, const std::function<bool(const DirectoryEntry&)>& visit) const;

  // --- attributes ---
  Status set_permissions(std::string_view path, std::uint32_t permissions);
  Status set_owner(std::string_view path, std::uint32_t uid, std::uint32_t gid, Follow follow = Follow::yes);
  Status set_times(std::string_view path, TimeStamp accessed, TimeStamp modified, Follow follow = Follow::yes);
  Result<std::vector<std::string>> list_attributes(std::string_view path, Follow follow = Follow::yes) const;
  Result<std::string> attribute(std::string_view path, std::string_view name, Follow follow = Follow::yes) const;
  Status set_attribute(std::string_view path, std::string_view name, std::string_view value,
                       Follow follow = Follow::yes);
  Status remove_attribute(std::string_view path, std::string_view name, Follow follow = Follow::yes);

  // --- pins ---
  struct PinRange {
    const File* file = nullptr;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  // One Pin for each range, all or nothing. Errors and blocking as File::pin.
  Result<std::vector<Pin>> pin_many(std::span<const PinRange> ranges, const PinOptions& options = {});
  // A pin by address: `address` lies in a window of this file system (the kernel's gup). As File::pin of the bytes
  // shown there; what is absent is brought first. Once it is granted the pin knows pages, not addresses: its segments
  // stay good when the window ends. EFAULT (no window, or the range reaches past it), EXDEV (another pool's), EACCES
  // (write access through a window for reading), and what File::pin says. Takes no lock where the pages are tracked.
  Result<Pin> pin_address(const void* address, std::uint64_t length, const PinOptions& options = {});
  // Every pin of this file system that this process holds, at most `limit`.
  std::vector<PinInfo> pins(std::size_t limit = 100000) const;
  // Every lease of this file system that was not released, those that are overdue included.
  std::vector<LeaseInfo> leases() const;
  std::vector<QuarantineInfo> quarantine() const;
  // Adds 1 to `event_fd` (eventfd(2)) once nothing is in quarantine; at once when nothing is.
  Status drain(int event_fd);

  // --- the whole ---
  SpaceInfo space() const;
  RecoveryInfo recovery() const;  // by the mount
  // As MountOptions::trust_memory, now: what is withheld becomes free. Orphans that are kept stay until the next mount.
  // Commits. EROFS, EIO.
  Status trust_memory();

  // --- memory that is lost ---
  // Says that [offset, offset + length) of the device is lost: a machine check was met there, or is to be expected.
  // What the library meets itself, in a read or a write, it needs not be told; what a program meets in a window or
  // through a pin it tells (SIGBUS, si_code BUS_MCEERR_AR, less window()). The range is taken out to whole pages of the
  // carrier. From then on, and until the pool is closed:
  //   - read and write of files fail there with EIO, what would have to zero a part of it (truncate, punch, zero_range)
  //     does so after it has done the rest, and a new pin fails with EHWPOISON; windows show a bus error (madvise(2),
  //     MADV_HWPOISON). The rest of each file can be used as before. A pin that is held stays good. While another
  //     operation is taking the same pages away, pins of them can still be had, and for about a second after it.
  //   - blocks that are free, or become so, are not handed out, and go to the medium's list of bad blocks, as
  //     badblocks(8) and `e2fsck -l` make it: the free ones durably by this call, others with the sync after they
  //     became free. Punch the page, or remove the file.
  // Lost metadata is EIO to whoever reads it next. What no list on the medium has is forgotten at unmount. Waits for no
  // pin; commits, and blocks as sync does. EINVAL: not inside the device; EROFS, EIO: the free part could not be
  // recorded, and is not handed out by this mount; EAGAIN: pages are being taken away by another operation, and no
  // thread could be started to look again. Thread-safe.
  Status poison(std::uint64_t offset, std::uint64_t length);
  // What is known to be lost, in order: the list on the medium, and what was met or told since the mount. EUCLEAN, EIO.
  Result<std::vector<BadRange>> poisoned() const;

  // What became of units of 2 MiB, and how windows show files now. A look at each 2 MiB of each window.
  UnitStatistics unit_statistics() const;
  // Whether all metadata fits together: every inode, the map of its blocks, its attributes and every name; that no
  // block has two owners and every inode a name; link counts, bitmaps, checksums and the counts of groups. A pool is
  // sound here exactly when `e2fsck -fn` finds nothing in it; of one whose journal was replayed in memory the state
  // after the replay is looked at, and what the next mount for writing will free (orphans) is a problem. Changes
  // nothing; blocks for a time linear in the pool, in which no other function of the mount goes on. `progress`, when
  // given, is called some times for each block group, and calls nothing of the mount. EINVAL: mounted for writing.
  // ENOTSUP: the image keeps quotas or shares blocks. ECANCELED: `progress` ended it.
  Result<VerifyReport> verify(const VerifyProgress& progress = {}) const;
  Status sync();  // syncfs(2): everything written so far
  bool read_only() const;
  std::byte* window() const;  // the device window

  // For the layers behind this interface.
  explicit Filesystem(std::shared_ptr<filesystem::Core> core);
  filesystem::Core& core() const { return *core_; }

 private:
  std::shared_ptr<filesystem::Core> core_;
};

}  // namespace holdfast
