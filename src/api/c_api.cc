// The C interface: each function is the C++ one with its Result turned into an errno value and a kept text.
#include <holdfast/holdfast.h>
#include <holdfast/holdfast_c.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <utility>

struct hf_device {
  holdfast::Device device;
};
struct hf_filesystem {
  holdfast::Filesystem filesystem;
};
struct hf_file {
  holdfast::File file;
};
struct hf_pin {
  holdfast::Pin pin;
};
struct hf_mapped {
  holdfast::Window window;
};

namespace {

thread_local std::string last_error;

int failed(const holdfast::Error& error) {
  last_error = error.message();
  return error.code();
}

int refused(int code, const char* text) {
  last_error = text;
  return code;
}

// Runs `body`, which returns 0 or an errno value; no exception crosses the C boundary.
template <typename Body>
int guarded(Body body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return refused(ENOMEM, "out of memory");
  } catch (const std::exception& exception) {
    return refused(EIO, exception.what());
  }
}

template <typename Call>
int status_of(Call call) noexcept {
  return guarded([&call] {
    const holdfast::Status status = call();
    return status ? 0 : failed(status.error());
  });
}

// A Result<T> whose value becomes a new handle.
template <typename Handle, typename Call>
int handle_of(Handle** out, Call call) noexcept {
  return guarded([&call, out] {
    auto result = call();
    if (!result) return failed(result.error());
    *out = new Handle{std::move(result).value()};  // NOLINT(bugprone-unhandled-exception-at-new): guarded catches it
    return 0;
  });
}

template <typename T, typename Call>
int value_of(T* out, Call call) noexcept {
  return guarded([&call, out] {
    auto result = call();
    if (!result) return failed(result.error());
    if (out != nullptr) *out = result.value();
    return 0;
  });
}

std::chrono::nanoseconds duration_of(int64_t nanoseconds) {
  return nanoseconds == HF_FOREVER ? holdfast::kForever : std::chrono::nanoseconds(nanoseconds);
}

holdfast::BreakOptions break_options(const hf_break_options* options) {
  if (options == nullptr) return {};
  return {static_cast<holdfast::OnPinned>(options->on_pinned), duration_of(options->deadline_ns)};
}

holdfast::PinOptions pin_options(const hf_pin_options* options) {
  if (options == nullptr) return {};
  holdfast::PinOptions wanted;
  wanted.access = static_cast<holdfast::Access>(options->access);
  wanted.on_break = static_cast<holdfast::OnBreak>(options->on_break);
  wanted.released_elsewhere = options->released_elsewhere != 0;
  wanted.deadline = duration_of(options->deadline_ns);
  if (options->purpose != nullptr) wanted.purpose = holdfast::Purpose::intern(options->purpose);
  return wanted;
}

const char* unfit(const hf_map_options* options) {
  if (options == nullptr) return nullptr;
  if (options->access != HF_READ && options->access != HF_WRITE) return "access: not an hf_access";
  if (options->faults != HF_SERVE_THREAD && options->faults != HF_SERVE_IN_THREAD)
    return "faults: not an hf_serve_faults";
  return nullptr;
}

holdfast::MapOptions map_options(const hf_map_options* options) {
  if (options == nullptr) return {};
  return {static_cast<holdfast::Access>(options->access), options->populate != 0,
          static_cast<holdfast::ServeFaults>(options->faults), options->synchronous != 0};
}

hf_time to_c(holdfast::TimeStamp time) { return {time.seconds, time.nanoseconds}; }

hf_stat to_c(const holdfast::Stat& stat) {
  return {stat.inode,
          static_cast<uint32_t>(stat.kind),
          stat.permissions,
          stat.links,
          stat.uid,
          stat.gid,
          stat.size,
          stat.allocated,
          to_c(stat.accessed),
          to_c(stat.modified),
          to_c(stat.changed),
          to_c(stat.created),
          stat.device_major,
          stat.device_minor};
}

hf_unit_report to_c(const holdfast::UnitReport& report) {
  return {report.in_1g,         report.in_2m,   report.file_end,    report.holes,         report.scattered,
          report.not_congruent, report.carrier, report.window_edge, report.small_entries, report.untouched};
}

int stat_of(hf_stat* out, const holdfast::Result<holdfast::Stat>& stat) {
  if (!stat) return failed(stat.error());
  *out = to_c(stat.value());
  return 0;
}

}  // namespace

const char* hf_error_message(void) { return last_error.c_str(); }

int hf_device_memory(uint64_t size, int page_size, hf_device** out) {
  if (page_size < HF_PAGE_4K || page_size > HF_PAGE_1G) return refused(EINVAL, "page size: not an hf_page_size");
  return handle_of(out, [&] {
    return holdfast::Device::memory({.size = size, .page_size = static_cast<holdfast::PageSize>(page_size)});
  });
}
int hf_device_create(const char* path, uint64_t size, hf_device** out) {
  return handle_of(out, [&] { return holdfast::Device::create(path, size); });
}
int hf_device_open(const char* path, hf_device** out) {
  return handle_of(out, [&] { return holdfast::Device::open(path); });
}
int hf_device_open_read_only(const char* path, hf_device** out) {
  return handle_of(out, [&] { return holdfast::Device::open_read_only(path); });
}
void hf_device_close(hf_device* device) { delete device; }

int hf_format(hf_device* device, uint64_t cluster, const char* label, int force) {
  return status_of([&] {
    holdfast::FormatOptions options;
    if (cluster != 0) options.cluster = cluster;
    if (label != nullptr) options.label = label;
    options.force = force != 0;
    return holdfast::format(device->device, options);
  });
}

static_assert(HF_UNITS_AS_THEY_COME == static_cast<int>(holdfast::Units::as_they_come));
int hf_mount(hf_device* device, int read_only, hf_filesystem** out) {
  const hf_mount_options options{read_only, HF_UNITS_MAKE, 0};
  return hf_mount_with(device, &options, out);
}
int hf_mount_with(hf_device* device, const hf_mount_options* options, hf_filesystem** out) {
  holdfast::MountOptions wanted;
  if (options != nullptr) {
    wanted.read_only = options->read_only != 0;
    wanted.units = static_cast<holdfast::Units>(options->units);
    wanted.trust_memory = options->trust_memory != 0;
  }
  const int code = handle_of(out, [&] { return holdfast::Filesystem::mount(std::move(device->device), wanted); });
  delete device;
  return code;
}
int hf_unmount(hf_filesystem* filesystem, int64_t deadline_ns) {
  return status_of([&] { return filesystem->filesystem.unmount({.deadline = duration_of(deadline_ns)}); });
}
void hf_filesystem_free(hf_filesystem* filesystem) { delete filesystem; }
int hf_sync(hf_filesystem* filesystem) {
  return status_of([&] { return filesystem->filesystem.sync(); });
}
int hf_space_of(hf_filesystem* filesystem, hf_space* out) {
  return guarded([&] {
    const holdfast::SpaceInfo space = filesystem->filesystem.space();
    *out = {space.total,  space.free,        space.available, space.quarantined,
            space.inodes, space.free_inodes, space.withheld,  space.bad};
    return 0;
  });
}
int hf_recovery_of(hf_filesystem* filesystem, hf_recovery* out) {
  return guarded([&] {
    const holdfast::RecoveryInfo done = filesystem->filesystem.recovery();
    *out = {done.blocks,
            done.revoked,
            done.transactions,
            done.predecessor,
            done.in_memory ? 1 : 0,
            done.superblock_restored ? 1 : 0,
            done.keeps_orphans ? 1 : 0};
    return 0;
  });
}
int hf_trust_memory(hf_filesystem* filesystem) {
  return status_of([&] { return filesystem->filesystem.trust_memory(); });
}
int hf_poison(hf_filesystem* filesystem, uint64_t offset, uint64_t length) {
  return status_of([&] { return filesystem->filesystem.poison(offset, length); });
}
int hf_poisoned(hf_filesystem* filesystem, int (*visit)(void* context, const hf_bad_range* range), void* context) {
  return status_of([&] {
    const auto ranges = filesystem->filesystem.poisoned();
    if (!ranges) return holdfast::Status(ranges.error());
    for (const holdfast::BadRange& range : *ranges) {
      const hf_bad_range told{range.offset, range.length, static_cast<int32_t>(range.state)};
      if (visit(context, &told) != 0) break;
    }
    return holdfast::Status();
  });
}
int hf_unit_statistics_of(hf_filesystem* filesystem, hf_unit_statistics* out) {
  return guarded([&] {
    const holdfast::UnitStatistics units = filesystem->filesystem.unit_statistics();
    const holdfast::UnitAttempts& attempts = units.attempts;
    *out = {attempts.made,   attempts.refused_busy, attempts.refused_memory, attempts.refused_unsupported,
            attempts.failed, to_c(units.windows)};
    return 0;
  });
}
int hf_drain(hf_filesystem* filesystem, int event_fd) {
  return status_of([&] { return filesystem->filesystem.drain(event_fd); });
}
void* hf_window(hf_filesystem* filesystem) { return filesystem->filesystem.window(); }

int hf_open(hf_filesystem* filesystem, const char* path, uint32_t flags, uint32_t permissions, hf_file** out) {
  return handle_of(out,
                   [&] { return filesystem->filesystem.open(path, static_cast<holdfast::Open>(flags), permissions); });
}
int hf_open_unnamed(hf_filesystem* filesystem, uint32_t permissions, hf_file** out) {
  return handle_of(out, [&] { return filesystem->filesystem.open_unnamed(permissions); });
}
int hf_link_unnamed(hf_filesystem* filesystem, hf_file* file, const char* path) {
  return status_of([&] { return filesystem->filesystem.link_unnamed(file->file, path); });
}
int hf_stat_path(hf_filesystem* filesystem, const char* path, int follow, hf_stat* out) {
  return guarded([&] {
    return stat_of(out, filesystem->filesystem.stat(path, follow != 0 ? holdfast::Follow::yes : holdfast::Follow::no));
  });
}
int hf_unlink(hf_filesystem* filesystem, const char* path) {
  return status_of([&] { return filesystem->filesystem.unlink(path); });
}
int hf_rename(hf_filesystem* filesystem, const char* from, const char* to, int mode) {
  if (mode < HF_RENAME_REPLACE || mode > HF_RENAME_EXCHANGE) return refused(EINVAL, "mode: not an hf_rename_mode");
  return status_of([&] { return filesystem->filesystem.rename(from, to, static_cast<holdfast::Rename>(mode)); });
}
int hf_link(hf_filesystem* filesystem, const char* existing, const char* path) {
  return status_of([&] { return filesystem->filesystem.link(existing, path); });
}
int hf_symlink(hf_filesystem* filesystem, const char* target, const char* path) {
  return status_of([&] { return filesystem->filesystem.symlink(target, path); });
}
int hf_read_symlink(hf_filesystem* filesystem, const char* path, char* buffer, size_t capacity) {
  return guarded([&] {
    const holdfast::Result<std::string> target = filesystem->filesystem.read_symlink(path);
    if (!target) return failed(target.error());
    if (target->size() >= capacity) return refused(ERANGE, "the buffer is too small for the link's target");
    std::memcpy(buffer, target->c_str(), target->size() + 1);
    return 0;
  });
}
int hf_make_directory(hf_filesystem* filesystem, const char* path, uint32_t permissions) {
  return status_of([&] { return filesystem->filesystem.make_directory(path, permissions); });
}
int hf_remove_directory(hf_filesystem* filesystem, const char* path) {
  return status_of([&] { return filesystem->filesystem.remove_directory(path); });
}
int hf_list(hf_filesystem* filesystem, const char* path,
            int (*visit)(void* context, const char* name, uint32_t inode, int kind), void* context) {
  return status_of([&] {
    return filesystem->filesystem.list(path, [&](const holdfast::DirectoryEntry& entry) {
      return visit(context, entry.name.c_str(), entry.inode, static_cast<int>(entry.kind)) == 0;
    });
  });
}

void hf_close(hf_file* file) { delete file; }
int hf_read(hf_file* file, uint64_t offset, void* into, size_t length, size_t* done) {
  return value_of(done, [&] { return file->file.read(offset, {static_cast<std::byte*>(into), length}); });
}
int hf_write(hf_file* file, uint64_t offset, const void* from, size_t length, size_t* done) {
  return value_of(done, [&] { return file->file.write(offset, {static_cast<const std::byte*>(from), length}); });
}
int hf_append(hf_file* file, const void* from, size_t length, uint64_t* offset) {
  return value_of(offset, [&] { return file->file.append({static_cast<const std::byte*>(from), length}); });
}
int hf_stat_file(hf_file* file, hf_stat* out) {
  return guarded([&] { return stat_of(out, file->file.stat()); });
}
int hf_truncate(hf_file* file, uint64_t size, const hf_break_options* options) {
  return status_of([&] { return file->file.truncate(size, break_options(options)); });
}
int hf_allocate(hf_file* file, uint64_t offset, uint64_t length, int keep_size) {
  return status_of([&] {
    return file->file.allocate(offset, length,
                               keep_size != 0 ? holdfast::Allocate::keep_size : holdfast::Allocate::extend);
  });
}
int hf_punch(hf_file* file, uint64_t offset, uint64_t length, const hf_break_options* options) {
  return status_of([&] { return file->file.punch(offset, length, break_options(options)); });
}
int hf_sync_file(hf_file* file, int data_only) {
  return status_of([&] { return data_only != 0 ? file->file.sync_data() : file->file.sync(); });
}
int hf_units_of_file(hf_file* file, hf_unit_report* out) {
  return guarded([&] {
    const auto report = file->file.units();
    if (!report) return failed(report.error());
    *out = to_c(*report);
    return 0;
  });
}

int hf_pin_file(hf_file* file, uint64_t offset, uint64_t length, const hf_pin_options* options, hf_pin** out) {
  return handle_of(out, [&] { return file->file.pin(offset, length, pin_options(options)); });
}
int hf_try_pin_file(hf_file* file, uint64_t offset, uint64_t length, const hf_pin_options* options, hf_pin** out) {
  return handle_of(out, [&] { return file->file.try_pin(offset, length, pin_options(options)); });
}
size_t hf_pin_segment_count(const hf_pin* pin) { return pin->pin.segments().size(); }
hf_segment hf_pin_segment(const hf_pin* pin, size_t index) {
  const holdfast::Segment& segment = pin->pin.segments()[index];
  return {segment.address, segment.device_offset, segment.length};
}
void hf_unpin(hf_pin* pin) { delete pin; }
int hf_pin_address(hf_filesystem* filesystem, const void* address, uint64_t length, const hf_pin_options* options,
                   hf_pin** out) {
  return handle_of(out, [&] { return filesystem->filesystem.pin_address(address, length, pin_options(options)); });
}

int hf_map(hf_file* file, uint64_t offset, uint64_t length, const hf_map_options* options, hf_mapped** out) {
  if (const char* const reason = unfit(options)) return refused(EINVAL, reason);
  return handle_of(out, [&] { return file->file.map(offset, length, map_options(options)); });
}
int hf_mapped_faults(const hf_mapped* mapped) { return static_cast<int>(mapped->window.faults()); }
void* hf_mapped_address(const hf_mapped* mapped) { return mapped->window.data(); }
int hf_sync_data(hf_file* file, uint64_t offset, uint64_t length) {
  return status_of([&] { return file->file.sync_data(offset, length); });
}
int hf_mapped_sync(hf_mapped* mapped, uint64_t offset, uint64_t length) {
  return status_of([&] { return mapped->window.sync(offset, length); });
}
void hf_unmap(hf_mapped* mapped) { delete mapped; }
