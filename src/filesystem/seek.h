// lseek(2) SEEK_DATA and SEEK_HOLE, and the report of extents.
#pragma once

#include <cstdint>
#include <vector>

#include <holdfast/file.h>

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// The first byte of data at or after the offset. Unwritten blocks are holes. ENXIO: none, or past the end.
Result<std::uint64_t> next_data(Inode& inode, std::uint64_t offset);
// The first byte of a hole at or after the offset; the end of the file is one. ENXIO: past the end.
Result<std::uint64_t> next_hole(Inode& inode, std::uint64_t offset);

// Every block of the file, those past its end included, in file order; neighbours that are contiguous and alike in
// state are one.
Result<std::vector<ExtentInfo>> extent_report(Inode& inode);

}  // namespace holdfast::filesystem
