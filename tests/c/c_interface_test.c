/* Goal: the C interface compiles as C and does what the C++ one does. Method: one file's life through it, a pin that a
 * detaching truncate leaves in quarantine, and the errors a caller meets first. */
#include <errno.h>
#include <holdfast/holdfast_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition)                                                                                    \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "%s:%d: %s does not hold (%s)\n", __FILE__, __LINE__, #condition, hf_error_message()); \
      exit(1);                                                                                               \
    }                                                                                                        \
  } while (0)

static int count_names(void* context, const char* name, uint32_t inode, int kind) {
  (void)inode;
  if (strcmp(name, "file") == 0) EXPECT(kind == HF_REGULAR);
  ++*(int*)context;
  return 0;
}

static int sum_of_retired(void* context, const hf_bad_range* range) {
  if (range->state == HF_BAD_RETIRED) *(uint64_t*)context += range->length;
  return 0;
}

static hf_filesystem* mount_fresh(void) {
  hf_device* device = NULL;
  hf_filesystem* filesystem = NULL;
  EXPECT(hf_device_memory(UINT64_C(64) << 20, HF_PAGE_4K, &device) == 0);
  EXPECT(hf_format(device, 0, "c", 0) == 0);
  {
    const hf_mount_options options = {0, HF_UNITS_AS_THEY_COME, 0};
    EXPECT(hf_mount_with(device, &options, &filesystem) == 0);
  }
  return filesystem;
}

static void file_life(hf_filesystem* filesystem) {
  hf_file* file = NULL;
  char text[16] = "";
  size_t done = 0;
  uint64_t at = 0;
  hf_stat stat;
  int names = 0;
  EXPECT(hf_make_directory(filesystem, "/d", 0755) == 0);
  EXPECT(hf_open(filesystem, "/d/file", HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE, 0600, &file) == 0);
  EXPECT(hf_write(file, 0, "hello", 5, &done) == 0 && done == 5);
  EXPECT(hf_append(file, " world", 6, &at) == 0 && at == 5);
  EXPECT(hf_read(file, 0, text, sizeof text, &done) == 0 && done == 11);
  EXPECT(memcmp(text, "hello world", 11) == 0);
  EXPECT(hf_stat_file(file, &stat) == 0 && stat.size == 11 && stat.permissions == 0600);
  EXPECT(hf_rename(filesystem, "/d/file", "/d/moved", HF_RENAME_NO_REPLACE) == 0);
  EXPECT(hf_symlink(filesystem, "moved", "/d/link") == 0);
  EXPECT(hf_read_symlink(filesystem, "/d/link", text, sizeof text) == 0 && strcmp(text, "moved") == 0);
  EXPECT(hf_read_symlink(filesystem, "/d/link", text, 5) == ERANGE);
  EXPECT(hf_list(filesystem, "/d", count_names, &names) == 0 && names == 2);
  EXPECT(hf_sync_file(file, 1) == 0);
  EXPECT(hf_sync_data(file, 0, 4096) == 0);
  EXPECT(hf_sync_data(file, UINT64_MAX, 1) == EINVAL);
  hf_close(file);
}

static void pins(hf_filesystem* filesystem) {
  const hf_pin_options write_pin = {HF_WRITE, HF_ON_BREAK_WAIT, 0, HF_FOREVER, "c test"};
  const hf_break_options fail = {HF_ON_PINNED_FAIL, HF_FOREVER};
  const hf_break_options detach = {HF_ON_PINNED_DETACH, HF_FOREVER};
  hf_file* file = NULL;
  hf_pin* pin = NULL;
  hf_segment segment;
  hf_space space;
  EXPECT(hf_open(filesystem, "/pinned", HF_OPEN_READ | HF_OPEN_WRITE | HF_OPEN_CREATE, 0600, &file) == 0);
  EXPECT(hf_allocate(file, 0, 8192, 0) == 0);
  EXPECT(hf_pin_file(file, 0, 8192, &write_pin, &pin) == 0);
  EXPECT(hf_pin_segment_count(pin) >= 1);
  segment = hf_pin_segment(pin, 0);
  EXPECT((char*)segment.address == (char*)hf_window(filesystem) + segment.device_offset);
  EXPECT(hf_truncate(file, 0, &fail) == EBUSY);
  EXPECT(strstr(hf_error_message(), "c test") != NULL);
  EXPECT(hf_truncate(file, 0, NULL) == EDEADLK);
  EXPECT(hf_truncate(file, 0, &detach) == 0);
  EXPECT(hf_space_of(filesystem, &space) == 0 && space.quarantined >= 8192);
  EXPECT(space.bad == 0);
  EXPECT(hf_poison(filesystem, UINT64_C(60) << 20, 8192) == 0);
  EXPECT(hf_poison(filesystem, UINT64_C(1) << 40, 1) != 0);
  {
    uint64_t retired = 0;
    EXPECT(hf_poisoned(filesystem, sum_of_retired, &retired) == 0 && retired == 8192);
  }
  hf_unpin(pin);
  {
    const hf_map_options in_thread = {HF_WRITE, 0, HF_SERVE_IN_THREAD, 0};
    hf_mapped* mapped = NULL;
    char byte = 0;
    size_t done = 0;
    EXPECT(hf_truncate(file, 8192, NULL) == 0);
    EXPECT(hf_map(file, 1, 4096, NULL, &mapped) == EINVAL);
    {
      const hf_map_options no_access = {2, 0, HF_SERVE_THREAD, 0};
      const hf_map_options no_server = {HF_READ, 0, -1, 0};
      EXPECT(hf_map(file, 0, 4096, &no_access, &mapped) == EINVAL && strstr(hf_error_message(), "access") != NULL);
      EXPECT(hf_map(file, 0, 4096, &no_server, &mapped) == EINVAL && strstr(hf_error_message(), "faults") != NULL);
    }
    EXPECT(hf_map(file, 0, 8192, &in_thread, &mapped) == 0);
    {
      hf_unit_statistics statistics;
      hf_unit_report report;
      EXPECT(hf_units_of_file(file, &report) == 0);
      EXPECT(report.file_end + report.holes + report.in_2m + report.carrier <= 8192 && report.untouched == 0);
      EXPECT(hf_unit_statistics_of(filesystem, &statistics) == 0);
      EXPECT(statistics.failed == 0);
      EXPECT(statistics.windows.window_edge + statistics.windows.untouched != 0);
    }
    EXPECT(hf_mapped_faults(mapped) == HF_FAULTS_IN_THREAD || hf_mapped_faults(mapped) == HF_FAULTS_NONE);
    ((char*)hf_mapped_address(mapped))[5000] = 'w';
    EXPECT(hf_read(file, 5000, &byte, 1, &done) == 0 && done == 1 && byte == 'w');
    EXPECT(hf_pin_address(filesystem, (char*)hf_mapped_address(mapped) + 5000, 1, &write_pin, &pin) == 0);
    EXPECT(*(char*)hf_pin_segment(pin, 0).address == 'w');
    hf_unpin(pin);
    EXPECT(hf_mapped_sync(mapped, 0, 8192) == 0);
    hf_unmap(mapped);
  }
  hf_close(file);
}

static void errors(hf_filesystem* filesystem) {
  hf_file* file = NULL;
  hf_device* device = NULL;
  EXPECT(hf_open(filesystem, "/none", HF_OPEN_READ, 0, &file) == ENOENT && file == NULL);
  EXPECT(strstr(hf_error_message(), "/none") != NULL);
  EXPECT(hf_open(filesystem, "relative", HF_OPEN_READ, 0, &file) == EINVAL);
  EXPECT(hf_device_open("/nonexistent/pool", &device) == ENOENT && device == NULL);
  EXPECT(hf_device_memory(4096, 7, &device) == EINVAL);
  EXPECT(hf_rename(filesystem, "/a", "/b", 9) == EINVAL);
}

int main(void) {
  hf_filesystem* filesystem = mount_fresh();
  file_life(filesystem);
  pins(filesystem);
  errors(filesystem);
  EXPECT(hf_unmount(filesystem, HF_FOREVER) == 0);
  hf_filesystem_free(filesystem);
  hf_filesystem_free(NULL);
  return 0;
}
