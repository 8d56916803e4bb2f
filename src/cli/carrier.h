// What a pool's carrier is, as the host tells it.
#pragma once

#include <cstdint>
#include <string>

#include <holdfast/device.h>

namespace holdfast::cli {

// The unit in which the carrier of `pool` hands out memory: 4 KiB, or what hugetlbfs or /dev/dax says. A file that is
// not there has what its folder has.
Result<std::uint64_t> page_bytes_of(const std::string& pool);

// EINVAL with the remedy when that is not `bytes`.
Status require_page_size(const std::string& pool, std::uint64_t bytes);

// Whether programs that use system calls (e2fsck) can read the pool's bytes.
bool readable_by_tools(Carrier carrier);

const char* carrier_text(Carrier carrier);

}  // namespace holdfast::cli
