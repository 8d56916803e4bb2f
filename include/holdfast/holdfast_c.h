/* Holdfast for C, and for whatever binds to C: the same nouns as the C++ interface, as opaque handles.
 *
 * Conventions. A function that can fail returns 0 or a positive errno value; on failure hf_error_message() of the
 * calling thread says which object, why, and what to do, until its next failing call. Results go to out-parameters,
 * which are untouched on failure. Offsets, lengths and sizes are bytes. Every handle is given back by its own close or
 * free function, exactly once; NULL is accepted there and ignored. Blocking, thread-safety and the state after an error
 * are those of the C++ function of the same name (holdfast/device.h, filesystem.h, file.h, pin.h, window.h), which is
 * where each is described. Handles may be used from any thread; a pin may be released by a thread other than the one
 * that took it.
 */
#ifndef HOLDFAST_HOLDFAST_C_H
#define HOLDFAST_HOLDFAST_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_device hf_device;
typedef struct hf_filesystem hf_filesystem;
typedef struct hf_file hf_file;
typedef struct hf_pin hf_pin;
typedef struct hf_mapped hf_mapped;

/* A time limit that never ends, for every `deadline_ns` below; 0 means "do not wait". */
#define HF_FOREVER INT64_MAX

enum hf_page_size { HF_PAGE_4K = 0, HF_PAGE_2M = 1, HF_PAGE_1G = 2 };
enum hf_units { HF_UNITS_MAKE = 0, HF_UNITS_AS_THEY_COME = 1 };
enum hf_access { HF_READ = 0, HF_WRITE = 1 };
enum hf_serve_faults { HF_SERVE_THREAD = 0, HF_SERVE_IN_THREAD = 1 };
enum hf_faults { HF_FAULTS_FULL = 0, HF_FAULTS_USER_MODE = 1, HF_FAULTS_IN_THREAD = 2, HF_FAULTS_NONE = 3 };
enum hf_on_pinned { HF_ON_PINNED_WAIT = 0, HF_ON_PINNED_FAIL = 1, HF_ON_PINNED_DETACH = 2 };
enum hf_on_break { HF_ON_BREAK_WAIT = 0, HF_ON_BREAK_FAIL = 1 };
enum hf_open_flags {
  HF_OPEN_READ = 1,
  HF_OPEN_WRITE = 2,
  HF_OPEN_CREATE = 4,
  HF_OPEN_EXCLUSIVE = 8,
  HF_OPEN_TRUNCATE = 16,
  HF_OPEN_NO_FOLLOW = 32,
  HF_OPEN_DATA_SYNC = 64, /* O_DSYNC */
  HF_OPEN_SYNC = 128      /* O_SYNC */
};
enum hf_kind { HF_REGULAR, HF_DIRECTORY, HF_SYMLINK, HF_CHARACTER_DEVICE, HF_BLOCK_DEVICE, HF_FIFO, HF_SOCKET };
enum hf_rename_mode { HF_RENAME_REPLACE = 0, HF_RENAME_NO_REPLACE = 1, HF_RENAME_EXCHANGE = 2 };

typedef struct hf_time {
  int64_t seconds; /* since 1970 */
  uint32_t nanoseconds;
} hf_time;

typedef struct hf_stat {
  uint32_t inode;
  uint32_t kind;        /* enum hf_kind */
  uint32_t permissions; /* the low 12 bits of st_mode */
  uint32_t links;
  uint32_t uid;
  uint32_t gid;
  uint64_t size;
  uint64_t allocated;
  hf_time accessed;
  hf_time modified;
  hf_time changed;
  hf_time created;
  uint32_t device_major;
  uint32_t device_minor;
} hf_stat;

typedef struct hf_space {
  uint64_t total;
  uint64_t free;
  uint64_t available;
  uint64_t quarantined;
  uint64_t inodes;
  uint64_t free_inodes;
  uint64_t withheld;
  uint64_t bad;
} hf_space;

typedef struct hf_bad_range {
  uint64_t offset; /* bytes of the device */
  uint64_t length;
  int32_t state; /* HF_BAD_IN_USE and so on */
} hf_bad_range;

enum { HF_BAD_IN_USE = 0, HF_BAD_WITHHELD = 1, HF_BAD_RETIRED = 2 };

/* What the mount brought back, see RecoveryInfo. */
typedef struct hf_recovery {
  uint64_t blocks;
  uint64_t revoked;
  uint32_t transactions;
  uint32_t predecessor; /* pid of a process that died in this boot with the pool open, or 0 */
  int32_t in_memory;
  int32_t superblock_restored;
  int32_t keeps_orphans;
} hf_recovery;

/* Bytes by the largest unit in which they can be mapped, and by the reason why they are not in units of 2 MiB: see
 * holdfast/units.h. */
typedef struct hf_unit_report {
  uint64_t in_1g;
  uint64_t in_2m;
  uint64_t file_end;
  uint64_t holes;
  uint64_t scattered;
  uint64_t not_congruent;
  uint64_t carrier;
  uint64_t window_edge;
  uint64_t small_entries;
  uint64_t untouched;
} hf_unit_report;

typedef struct hf_unit_statistics {
  uint64_t made; /* units that the kernel was asked for, since the mount; and those it refused, by reason */
  uint64_t refused_busy;
  uint64_t refused_memory;
  uint64_t refused_unsupported;
  uint64_t failed;
  hf_unit_report windows; /* as they are now */
} hf_unit_statistics;

typedef struct hf_segment {
  void* address; /* in the device window; good until the pin is released */
  uint64_t device_offset;
  uint64_t length;
} hf_segment;

/* What a break does with pins: {HF_ON_PINNED_WAIT, HF_FOREVER} is the default that NULL stands for. */
typedef struct hf_break_options {
  int32_t on_pinned;   /* enum hf_on_pinned */
  int64_t deadline_ns; /* of the wait */
} hf_break_options;

/* NULL stands for {HF_READ, HF_ON_BREAK_WAIT, 0, HF_FOREVER, ""}. */
typedef struct hf_pin_options {
  int32_t access;             /* enum hf_access */
  int32_t on_break;           /* enum hf_on_break */
  int32_t released_elsewhere; /* not 0: another thread will release it */
  int64_t deadline_ns;
  const char* purpose; /* copied once per distinct text and kept for the life of the process */
} hf_pin_options;

/* NULL stands for {0, HF_UNITS_MAKE, 0}. */
typedef struct hf_mount_options {
  int32_t read_only;
  int32_t units;        /* enum hf_units */
  int32_t trust_memory; /* not 0: no transfer of a process that had the pool before is under way */
} hf_mount_options;

/* NULL stands for {HF_WRITE, 0, HF_SERVE_THREAD, 0}. */
typedef struct hf_map_options {
  int32_t access;      /* enum hf_access */
  int32_t populate;    /* not 0: every page is there on return */
  int32_t faults;      /* enum hf_serve_faults */
  int32_t synchronous; /* not 0: flushed stores are durable without a sync, or EOPNOTSUPP (holdfast/window.h) */
} hf_map_options;

/* The text of this thread's last failure: "object: reason; remedy". Never NULL. Valid until its next failing call. */
const char* hf_error_message(void);

/* --- devices and pools --- */
int hf_device_memory(uint64_t size, int page_size, hf_device** out);
int hf_device_create(const char* path, uint64_t size, hf_device** out);
int hf_device_open(const char* path, hf_device** out);
int hf_device_open_read_only(const char* path, hf_device** out);
void hf_device_close(hf_device* device);
/* cluster 0: 4 KiB. label NULL: none. force not 0: replaces a file system that is there. */
int hf_format(hf_device* device, uint64_t cluster, const char* label, int force);

/* Takes the device, also when it fails. */
int hf_mount(hf_device* device, int read_only, hf_filesystem** out);
int hf_mount_with(hf_device* device, const hf_mount_options* options, hf_filesystem** out);
/* Commits and closes the pool; on failure it stays mounted and the handle stays good. After success the handle is
 * still to be freed. */
int hf_unmount(hf_filesystem* filesystem, int64_t deadline_ns);
void hf_filesystem_free(hf_filesystem* filesystem);
int hf_sync(hf_filesystem* filesystem);
int hf_space_of(hf_filesystem* filesystem, hf_space* out);
int hf_recovery_of(hf_filesystem* filesystem, hf_recovery* out);
int hf_trust_memory(hf_filesystem* filesystem);
/* Memory that is lost: see Filesystem::poison. */
int hf_poison(hf_filesystem* filesystem, uint64_t offset, uint64_t length);
/* visit returns 0 to go on; anything else ends the listing, which then succeeds. */
int hf_poisoned(hf_filesystem* filesystem, int (*visit)(void* context, const hf_bad_range* range), void* context);
int hf_unit_statistics_of(hf_filesystem* filesystem, hf_unit_statistics* out);
/* Adds 1 to the eventfd once nothing is in quarantine. */
int hf_drain(hf_filesystem* filesystem, int event_fd);
void* hf_window(hf_filesystem* filesystem);

/* --- names --- */
int hf_open(hf_filesystem* filesystem, const char* path, uint32_t flags, uint32_t permissions, hf_file** out);
int hf_open_unnamed(hf_filesystem* filesystem, uint32_t permissions, hf_file** out);
int hf_link_unnamed(hf_filesystem* filesystem, hf_file* file, const char* path);
int hf_stat_path(hf_filesystem* filesystem, const char* path, int follow, hf_stat* out);
int hf_unlink(hf_filesystem* filesystem, const char* path);
int hf_rename(hf_filesystem* filesystem, const char* from, const char* to, int mode);
int hf_link(hf_filesystem* filesystem, const char* existing, const char* path);
int hf_symlink(hf_filesystem* filesystem, const char* target, const char* path);
/* Writes at most `capacity` bytes with a closing 0; ERANGE when the target does not fit. */
int hf_read_symlink(hf_filesystem* filesystem, const char* path, char* buffer, size_t capacity);
int hf_make_directory(hf_filesystem* filesystem, const char* path, uint32_t permissions);
int hf_remove_directory(hf_filesystem* filesystem, const char* path);
/* visit returns 0 to go on; anything else ends the listing, which then succeeds. */
int hf_list(hf_filesystem* filesystem, const char* path,
            int (*visit)(void* context, const char* name, uint32_t inode, int kind), void* context);

/* --- files --- */
void hf_close(hf_file* file);
int hf_read(hf_file* file, uint64_t offset, void* into, size_t length, size_t* done);
int hf_write(hf_file* file, uint64_t offset, const void* from, size_t length, size_t* done);
int hf_append(hf_file* file, const void* from, size_t length, uint64_t* offset);
int hf_stat_file(hf_file* file, hf_stat* out);
int hf_truncate(hf_file* file, uint64_t size, const hf_break_options* options);
int hf_allocate(hf_file* file, uint64_t offset, uint64_t length, int keep_size);
int hf_punch(hf_file* file, uint64_t offset, uint64_t length, const hf_break_options* options);
int hf_sync_file(hf_file* file, int data_only);
int hf_sync_data(hf_file* file, uint64_t offset, uint64_t length);
/* In what units the file could be mapped as it lies now. */
int hf_units_of_file(hf_file* file, hf_unit_report* out);

/* --- pins --- */
int hf_pin_file(hf_file* file, uint64_t offset, uint64_t length, const hf_pin_options* options, hf_pin** out);
int hf_try_pin_file(hf_file* file, uint64_t offset, uint64_t length, const hf_pin_options* options, hf_pin** out);
size_t hf_pin_segment_count(const hf_pin* pin);
/* Precondition: index < hf_pin_segment_count(pin). */
hf_segment hf_pin_segment(const hf_pin* pin, size_t index);
/* Releases and frees. Never blocks. */
void hf_unpin(hf_pin* pin);

/* A pin of the bytes that a window shows at the address. */
int hf_pin_address(hf_filesystem* filesystem, const void* address, uint64_t length, const hf_pin_options* options,
                   hf_pin** out);

/* --- windows: a file as memory. EINVAL also for options that are none --- */
int hf_map(hf_file* file, uint64_t offset, uint64_t length, const hf_map_options* options, hf_mapped** out);
void* hf_mapped_address(const hf_mapped* mapped);
/* enum hf_faults: who serves touches of pages that are not there. */
int hf_mapped_faults(const hf_mapped* mapped);
int hf_mapped_sync(hf_mapped* mapped, uint64_t offset, uint64_t length);
void hf_unmap(hf_mapped* mapped);

#ifdef __cplusplus
}
#endif

#endif
