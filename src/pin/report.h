// Who has pinned what, as the public interface says it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <holdfast/pin.h>

namespace holdfast::pin {

// A number for FileKey::filesystem that no other file system or raw device of this process has or had.
std::uint32_t new_filesystem_number();

// Every held pin of the file system, at most `limit`, but for its path.
std::vector<PinInfo> report(std::uint32_t filesystem, std::size_t limit);

}  // namespace holdfast::pin
