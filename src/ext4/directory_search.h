// Finding the record of a name, for the functions of a directory.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "ext4/directory_file.h"
#include "ext4/hash_tree.h"

namespace holdfast::ext4 {

// Where a name's record is. Without `leaf` there is none.
struct FoundRecord {
  BlockRef leaf;
  std::uint32_t block = 0;  // of the directory
  std::uint32_t at = 0;
  std::uint32_t before = kNoRecord;

  bool exists() const { return static_cast<bool>(leaf); }
  RecordHeader header() const { return header_at(leaf.data(), at); }
};

// EINVAL, ENAMETOOLONG.
Status check_name(InodeNumber directory, std::string_view name);
inline bool is_dot(std::string_view name) { return name == "." || name == ".."; }

// `.` or `..`. EUCLEAN when it is not where it belongs.
Result<FoundRecord> find_dot(DirectoryFile& directory, std::string_view name);
Result<FoundRecord> find_record(DirectoryFile& directory, std::string_view name);

// The block of a leaf, searched; damage is an error.
Result<Search> search_block(const DirectoryFile& directory, const BlockRef& ref, std::uint32_t block,
                            std::string_view name, std::uint32_t need = ~std::uint32_t{0});

std::uint8_t type_byte(const DirectoryFile& directory, FileType type);
// From the record; from the inode where records have no types; `regular` when that cannot be read either.
FileType type_of(DirectoryFile& directory, std::uint32_t inode, std::uint8_t type);

}  // namespace holdfast::ext4
