// Devices on every carrier that a test can have without a privilege.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "device/device.h"
#include "support/scratch.h"

namespace holdfast::test {

enum class Carriage : std::uint8_t { memory, tmpfs_file, disk_file, hugetlb };
const char* to_string(Carriage carriage);

// A new device; files are called "pool" in `scratch`, which is made for them.
std::unique_ptr<device::Device> make_device(Carriage carriage, std::uint64_t size,
                                            std::optional<ScratchDirectory>& scratch);

}  // namespace holdfast::test
