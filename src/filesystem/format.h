// What the file system asks of an on-media format: where bytes live, names, attributes, space, transactions.
//
// The file system decides *when* (locks, breaks, pins, quarantine); the format knows *how* it is written down. A
// format locks itself: every function may be called from any thread; none waits for a pin or touches user memory.
//
// Every change happens inside a Handle (reserve, modify, stop): begin() reserves what the operation may need, so that
// little fails for lack of space in the middle; the changes of one handle become durable together. A function that
// fails has changed nothing. What an operation changed before it failed it takes back, or the format stops.
//
// Counting: `links` 0 plus an entry on the orphan list is how an inode without a name survives a crash.
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/units.h"

namespace holdfast::filesystem {

enum class InodeNumber : std::uint32_t {};
inline constexpr InodeNumber kNoInode{0};
constexpr std::uint32_t raw(InodeNumber inode) { return static_cast<std::uint32_t>(inode); }

enum class FileType : std::uint8_t { regular, directory, symlink, character_device, block_device, fifo, socket };

struct Attributes {
  FileType type = FileType::regular;
  std::uint32_t permissions = 0;  // the low 12 bits of st_mode
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t links = 0;
  std::uint64_t size = 0;       // bytes
  std::uint64_t allocated = 0;  // bytes of blocks, metadata blocks of the inode included; read only
  FileTime accessed;
  FileTime modified;
  FileTime changed;
  FileTime created;
  std::uint32_t device_major = 0;  // device nodes only
  std::uint32_t device_minor = 0;
  std::uint32_t generation = 0;  // read only
  std::uint32_t flags = 0;       // the format's own flag bits, kept as they are (FS_IOC_GETFLAGS)
};

// File pages [index, index + count) live at device pages [pfn, pfn + count).
struct Extent {
  PageIndex index;
  Pfn pfn;
  PageCount count;
  bool unwritten = false;  // allocated, but reads as zeros
};

struct Name {
  std::string name;
  InodeNumber inode = kNoInode;
  FileType type = FileType::regular;
};

struct Space {
  std::uint64_t block_bytes = 4096;
  std::uint64_t cluster_bytes = 4096;  // unit of allocation
  std::uint64_t total = 0;             // bytes usable by files and their metadata
  std::uint64_t free = 0;              // bytes nobody owns, those whose freeing is not committed yet included
  std::uint64_t withheld = 0;          // bytes nobody owns either, which transfers of a dead process may still reach
  std::uint64_t bad = 0;               // bytes that are recorded as never to be handed out
  std::uint64_t available = 0;         // of the free ones, what an ordinary user may take (reserved blocks excluded)
  std::uint64_t inodes = 0;
  std::uint64_t free_inodes = 0;
  std::uint32_t name_bytes_max = 255;
  std::string uuid;
  std::string label;
};

// What a mount brought back of a former life that did not end cleanly.
struct Recovery {
  std::uint32_t transactions = 0;    // of the journal
  std::uint64_t blocks = 0;          // brought home, or, for a mount that only reads, into memory
  std::uint64_t revoked = 0;         // copies that were not to be replayed any more
  bool in_memory = false;            // the medium was not changed
  bool unclean = false;              // nobody has closed it since it was written to
  bool superblock_restored = false;  // from the journal: a write of it had been cut short
  std::uint32_t predecessor = 0;     // a process that died in this boot, and may have transfers under way; 0: none
  bool keeps_orphans = false;        // what it left unlinked is not freed before another boot
};

// What a verification found.
struct Verification {
  std::vector<std::string> problems;  // one line each: the object and what is wrong with it
  std::uint64_t problems_untold = 0;  // beyond the first thousand
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t symlinks = 0;
  std::uint64_t nodes = 0;
  std::uint64_t names = 0;

  bool sound() const { return problems.empty(); }
};

// How far a verification is, in steps of its own. False: it is to end.
using VerifyProgress = std::function<bool(std::uint64_t done, std::uint64_t of)>;

// How much an operation may change; begin() turns it into blocks. Generous is fine, too little stops the process.
struct Reservation {
  std::uint32_t inodes = 1;            // inodes whose attributes change
  std::uint32_t names = 0;             // directory entries added or removed
  std::uint32_t extents = 0;           // extents added or removed (a range of many is cut into several handles)
  std::uint32_t extent_nodes = 0;      // of extent trees, where the extents lie so scattered that each has its own
  std::uint32_t attribute_blocks = 0;  // extended attribute blocks
  bool takes_space = false;            // false: must succeed on a full pool (unlink, truncate)
};

// One operation's changes; the destructor ends it. One that ends with changes behind the last done() was left half
// done: they are never committed, and nothing is any more (EROFS, naming the failure).
class Handle {
 public:
  virtual ~Handle() = default;
  // What was changed up to now belongs together and is complete: the operation's last step, the last part of it that
  // can stand alone, or the end of taking a failed one back.
  virtual void done() {}
};

enum class Initial : std::uint8_t {
  unwritten,  // reads as zeros until mark_written
  written,    // the caller stores every byte before anybody can read the range
};

class Format {
 public:
  virtual ~Format() = default;

  // --- transactions ---
  // Blocks while a commit drains open handles. A thread has one handle at a time.
  // ENOSPC: takes_space and the pool is full. EROFS: read-only, or stopped after a write error (the reason says which).
  virtual Result<std::unique_ptr<Handle>> begin(const Reservation& reservation) = 0;
  // Everything stopped before is durable after (on carriers that keep anything). Blocks. EIO stops all further writing.
  // What was flushed on the device before is durable no later than what the commit makes reachable; where there was
  // nothing to commit, it may not be durable yet.
  virtual Status commit() = 0;
  // Commits are numbered as they end, from 1. What a handle has changed before this is asked is durable with the number
  // that it answers, at the latest; for ever from the moment on that `committed` has reached it. Lock-free. A format
  // that answers 0 is durable at once.
  virtual std::uint64_t next_commit() const { return 0; }
  virtual std::uint64_t committed() const { return 0; }
  // Nothing is written any more, as after a commit that failed: the device lost something that it was given.
  virtual void stop(const Error& /*why*/) {}
  // Work to be done now and then by somebody who has time: commits what is old, prepares for the next commits. Blocks.
  // As commit(); nothing after close().
  virtual Status tend() { return {}; }
  // How often; zero: never.
  virtual Nanoseconds tend_interval() const { return Nanoseconds(0); }
  virtual Recovery recovery() const { return {}; }
  // Some of the device's memory is lost (device/poison.h): what of it is free is never handed out, from now on, and
  // what becomes free neither, from its commit on. What can be recorded of that on the medium is, durably, by this call
  // and by each commit; where there is no space for the record it is tried again. Blocks as commit(). EROFS, EIO; EIO
  // and EUCLEAN of a part of the medium that cannot be read, and hands out nothing.
  virtual Status avoid_lost() { return {}; }
  // What is recorded as never to be handed out. As read_inode().
  virtual Status bad_blocks(const std::function<void(Pfn first, PageCount count)>& /*visit*/) { return {}; }
  // The caller knows that no transfer of a process that died with the volume open is under way: nothing is withheld or
  // kept on its account any more. As commit().
  virtual Status trust_memory() { return {}; }
  // Commits, writes the clean state when `clean`, lets go of everything. Nothing may be called afterwards.
  virtual Status close(bool clean) = 0;

  // --- inodes ---
  // ENOENT: not in use. EUCLEAN: damaged, the reason says how.
  virtual Result<Attributes> read_inode(InodeNumber inode) = 0;
  virtual Status write_inode(Handle& handle, InodeNumber inode, const Attributes& attributes) = 0;
  // A new inode near `parent` with the attributes (links as given). ENOSPC.
  virtual Result<InodeNumber> create_inode(Handle& handle, InodeNumber parent, const Attributes& attributes) = 0;
  // Precondition: no blocks, off the orphan list, links 0.
  virtual Status free_inode(Handle& handle, InodeNumber inode) = 0;
  virtual Status add_orphan(Handle& handle, InodeNumber inode) = 0;
  virtual Status remove_orphan(Handle& handle, InodeNumber inode) = 0;
  // What a mount found there.
  virtual Result<std::vector<InodeNumber>> orphans() = 0;
  virtual InodeNumber root() const = 0;
  virtual bool read_only() const = 0;

  // --- blocks of files ---
  // Appends the extents that overlap the range, in order, clipped to it; holes are what is missing.
  virtual Status extents(InodeNumber inode, PageRange range, std::vector<Extent>& found) = 0;
  // Blocks for every hole of the range, congruent to 2 MiB units for large files; appends what was added. The device
  // memory is reserved before return. Returns how far it came: the end of the range, unless free space lies in so many
  // pieces that the rest needs another handle; in each one it comes further. ENOSPC: the file is as it was.
  virtual Result<PageIndex> allocate(Handle& handle, InodeNumber inode, PageRange range, Initial initial,
                                     std::vector<Extent>& added) = 0;
  virtual Status mark_written(Handle& handle, InodeNumber inode, PageRange range) = 0;
  // The reverse, for blocks that stay in a cluster past the end of the file: written blocks there are damage to e2fsck.
  // Holes of the range stay holes.
  virtual Status mark_unwritten(Handle& handle, InodeNumber inode, PageRange range) = 0;
  // Takes the blocks of the range out of the inode and frees them; they are handed out again only after the commit.
  // Precondition: nobody can reach their pages. Whole clusters only: what covers part of a cluster stays.
  // `end` may be kEndOfFile. At most `extents_max` extents a call: returns where it stopped (the end of the range when
  // done), so that a long removal runs in several handles, from the end of the file towards its start.
  virtual Result<PageIndex> remove(Handle& handle, InodeNumber inode, PageRange range, std::uint32_t extents_max) = 0;
  // Takes the blocks of the range out of `from` and gives them to `to` at the same device pages, starting at to_index.
  // Whole clusters only. ENOSPC (extent blocks) before any change.
  virtual Status move(Handle& handle, InodeNumber from, PageRange range, InodeNumber to, PageIndex to_index) = 0;
  virtual PageCount cluster() const = 0;
  // EOPNOTSUPP: the file's blocks are mapped in a way of the past, which is read, and whose blocks are written in
  // place: none can be taken out, and it does not reach as far as files may.
  virtual Status check_resizable(InodeNumber /*inode*/) { return {}; }

  // --- names ---
  virtual Result<std::optional<Name>> lookup(InodeNumber directory, std::string_view name) = 0;
  // EEXIST, ENOSPC, ENAMETOOLONG.
  virtual Status add_name(Handle& handle, InodeNumber directory, const Name& name) = 0;
  virtual Status remove_name(Handle& handle, InodeNumber directory, std::string_view name) = 0;
  // Points an existing name at another inode.
  virtual Status replace_name(Handle& handle, InodeNumber directory, const Name& name) = 0;
  // First block with `.` and `..` of a directory inode just created.
  virtual Status make_directory(Handle& handle, InodeNumber directory, InodeNumber parent) = 0;
  virtual Status set_parent(Handle& handle, InodeNumber directory, InodeNumber parent) = 0;
  virtual Result<bool> directory_empty(InodeNumber directory) = 0;
  // Calls `visit` for each name from `cursor` on (0: the first; `.` and `..` included) until it says false; returns
  // the cursor to go on with, kDirectoryEnd at the end. Names that stay are seen exactly once, whatever is added or
  // removed between two calls (cursors are hashes, as in the kernel's fs/ext4/dir.c).
  using NameVisitor = std::function<bool(const Name& name, std::uint64_t next_cursor)>;
  virtual Result<std::uint64_t> read_directory(InodeNumber directory, std::uint64_t cursor,
                                               const NameVisitor& visit) = 0;

  // --- symbolic links ---
  virtual Result<std::string> read_symlink(InodeNumber inode) = 0;
  virtual Status write_symlink(Handle& handle, InodeNumber inode, std::string_view target) = 0;

  // --- extended attributes; names with their prefix ("user.x", "system.posix_acl_access" as raw xattr value) ---
  enum class AttributeMode : std::uint8_t { set, create, replace };
  virtual Result<std::vector<std::string>> list_attributes(InodeNumber inode) = 0;
  virtual Result<std::string> get_attribute(InodeNumber inode, std::string_view name) = 0;  // ENODATA
  virtual Status set_attribute(Handle& handle, InodeNumber inode, std::string_view name, std::string_view value,
                               AttributeMode mode) = 0;  // EEXIST, ENODATA, ENOSPC, E2BIG
  virtual Status remove_attribute(Handle& handle, InodeNumber inode, std::string_view name) = 0;
  // Drops the inode's own attribute block (shared ones lose a reference): part of eviction, before free_inode.
  virtual Status remove_all_attributes(Handle& handle, InodeNumber inode) = 0;

  virtual Space space() = 0;
  // Whether everything fits together, as the format's own checker sees it. Nothing else may be asked meanwhile: takes
  // time for all that the volume holds. EINVAL: a mount for writing. ENOTSUP: something that cannot be verified.
  // ECANCELED: `progress` (which may be empty) said so.
  virtual Result<Verification> verify(const VerifyProgress& /*progress*/) {
    return Error(ENOTSUP, "", "this format has no verification");
  }
  // Device pages that the format itself occupies are never handed to files; for reports and checks: whether free.
  virtual Result<bool> block_free(Pfn pfn) = 0;
};

inline constexpr std::uint64_t kDirectoryEnd = ~std::uint64_t{0};

}  // namespace holdfast::filesystem
