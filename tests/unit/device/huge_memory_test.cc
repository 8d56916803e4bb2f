// Goal: memory in units without a system-wide setting is there for everybody, root without privilege included.
// Method: the file is made as this user and, for root, by a child that gave its capabilities up; the kernel is asked
// how it translates the first 2 MiB.
#include "device/huge_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

#include "base/units.h"
#include "device/unit_probe.h"
#include "support/child.h"
#include "support/skip.h"

namespace holdfast::device {
namespace {

// Empty: the file keeps its first 2 MiB in a unit.
std::string what_is_wrong_with(const FileDescriptor& file) {
  if (!file) return "no file";
  if (ftruncate(file.get(), 4 * MiB) != 0 || fallocate(file.get(), 0, 0, 4 * MiB) != 0) return "no space";
  void* const mapped = mmap(nullptr, 4 * MiB, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return "no mapping";
  // The mapping need not begin at a multiple of 2 MiB of the address space: then it is put where one is.
  const auto aligned = round_up(reinterpret_cast<std::uintptr_t>(mapped), 2 * MiB);
  auto* const at = reinterpret_cast<std::byte*>(aligned);  // NOLINT(performance-no-int-to-ptr)
  munmap(mapped, 4 * MiB);
  if (mmap(at, 2 * MiB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.get(), 0) == MAP_FAILED) return "no room";
  const std::optional<bool> unit = is_translated_as_unit(at);
  munmap(at, 2 * MiB);
  return unit.value_or(true) ? "" : "it is kept in small pages";
}

bool user_namespaces_work() {
  return test::run_in_child([] { return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 ? "" : "refused"; }).status == 0;
}

TEST(HugeMemory, IsKeptInUnits) {
  if (geteuid() != 0 && !user_namespaces_work()) HF_SKIP_CAPABILITY("huge-tmpfs", "no user namespaces");
  const FileDescriptor file = open_huge_memory();
  if (!file) HF_SKIP_CAPABILITY("huge-tmpfs", "a private tmpfs cannot be mounted");
  EXPECT_EQ(what_is_wrong_with(file), "");
}

TEST(HugeMemory, RootWithoutPrivilegeGetsItAsEverybodyDoes) {
  if (geteuid() != 0) HF_SKIP_CAPABILITY("root", "this user is not root");
  // As in a container: no CAP_SYS_ADMIN, but CAP_SETFCAP, without which nobody may map root into a user namespace.
  const auto give_up_administration = [] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> kept{};
    kept[0].effective = kept[0].permitted = 1U << CAP_SETFCAP;
    return syscall(SYS_capset, &header, kept.data()) == 0;
  };
  const bool possible = test::run_in_child([&] {
                          if (!give_up_administration()) return "capabilities stay";
                          return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 ? "" : "refused";
                        }).status == 0;
  if (!possible) HF_SKIP_CAPABILITY("user-namespaces", "they need privilege here");
  const test::ChildEnd end = test::run_in_child([&]() -> std::string {
    if (!give_up_administration()) return "capabilities stay";
    return what_is_wrong_with(open_huge_memory());
  });
  EXPECT_EQ(end.message, "");
  EXPECT_TRUE(end.exited && end.status == 0);
}

}  // namespace
}  // namespace holdfast::device
