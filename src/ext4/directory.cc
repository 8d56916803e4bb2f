#include "ext4/directory.h"

#include <fmt/format.h>

#include <cerrno>
#include <string>

#include "ext4/directory_search.h"
#include "ext4/hash_tree_node.h"

namespace holdfast::ext4 {
namespace {

std::string describe(InodeNumber directory, std::string_view name) {
  return fmt::format("directory inode {}, name {}", raw(directory), name);
}

Status check_changeable(InodeNumber directory, std::string_view name) {
  HF_TRY(check_name(directory, name));
  if (is_dot(name)) return Error(EINVAL, describe(directory, name), "`.` and `..` stay");
  return {};
}

// The record of a name that must be there.
Result<FoundRecord> find_to_change(DirectoryFile& directory, std::string_view name) {
  HF_ASSIGN(FoundRecord found, find_record(directory, name));
  if (!found.exists()) return Error(ENOENT, describe(directory.inode(), name), "");
  return found;
}

void point_to(DirectoryFile& directory, FoundRecord& found, InodeNumber inode, std::uint8_t type) {
  auto* const header = directory.cache().modify_as<RecordHeader>(found.leaf, found.at);
  header->inode = raw(inode);
  header->type = type;
  directory.changed();
}

// Whether the block has a name besides `.` and `..`.
Result<bool> has_names(DirectoryFile& directory, std::uint32_t block) {
  HF_ASSIGN(const BlockRef ref, directory.read(block, BlockKind::directory));
  bool found = false;
  std::uint32_t at = 0;
  const char* const damage = for_each_record(ref.data(), directory.shape(), at, [&](const Record& record) {
    found = block != 0 || !is_dot(record.name);
    return !found;
  });
  if (damage != nullptr) return directory.damaged_at(block, at, damage);
  return found;
}

}  // namespace

Result<std::optional<Name>> lookup(Volume& volume, InodeNumber directory, std::string_view name) {
  HF_TRY(check_name(directory, name));
  HF_ASSIGN(DirectoryFile file, DirectoryFile::open(volume, directory));
  HF_ASSIGN(const FoundRecord found, is_dot(name) ? find_dot(file, name) : find_record(file, name));
  if (!found.exists()) return std::optional<Name>();
  const RecordHeader header = found.header();
  return std::optional<Name>(
      Name{std::string(name), InodeNumber{header.inode}, type_of(file, header.inode, header.type)});
}

Status remove_name(Volume& volume, InodeNumber directory, std::string_view name) {
  HF_TRY(check_changeable(directory, name));
  HF_ASSIGN(DirectoryFile file, DirectoryFile::open(volume, directory));
  HF_ASSIGN(FoundRecord found, find_to_change(file, name));
  erase(file.cache().modify(found.leaf), found.at, found.before);
  file.changed();
  return {};
}

Status replace_name(Volume& volume, InodeNumber directory, const Name& name) {
  HF_TRY(check_changeable(directory, name.name));
  HF_ASSIGN(DirectoryFile file, DirectoryFile::open(volume, directory));
  HF_ASSIGN(FoundRecord found, find_to_change(file, name.name));
  point_to(file, found, name.inode, type_byte(file, name.type));
  return {};
}

Status make_directory(Volume& volume, InodeNumber directory, InodeNumber parent) {
  HF_ASSIGN(DirectoryFile file, DirectoryFile::open_new(volume, directory));
  HF_TRY(file.reserve(1));
  HF_ASSIGN(BlockRef ref, file.fresh(file.take_reserved(), BlockKind::directory));
  const std::uint8_t type = type_byte(file, FileType::directory);
  BlockWriter writer(file.cache().modify(ref), file.shape());
  writer.add({".", raw(directory), type});
  writer.add({"..", raw(parent), type});
  writer.finish();
  file.changed();
  return {};
}

Status set_parent(Volume& volume, InodeNumber directory, InodeNumber parent) {
  HF_ASSIGN(DirectoryFile file, DirectoryFile::open(volume, directory));
  HF_ASSIGN(FoundRecord found, find_dot(file, ".."));
  point_to(file, found, parent, type_byte(file, FileType::directory));
  return {};
}

Result<bool> directory_empty(Volume& volume, InodeNumber directory) {
  HF_ASSIGN(DirectoryFile file, DirectoryFile::open(volume, directory));
  if (!file.indexed()) {
    for (std::uint32_t block = 0; block < file.blocks(); ++block) {
      HF_ASSIGN(const bool found, has_names(file, block));
      if (found) return false;
    }
    return true;
  }
  HF_ASSIGN(HashTree tree, HashTree::open(file));
  HF_TRY(tree.descend(0));
  for (;;) {
    HF_ASSIGN(const bool found, has_names(file, tree.leaf()));
    if (found) return false;
    HF_ASSIGN(const bool more, tree.next());
    if (!more) return true;
  }
}

}  // namespace holdfast::ext4
