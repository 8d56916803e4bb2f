#include "ext4/directory_search.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <string>

#include "ext4/hash_tree_node.h"

namespace holdfast::ext4 {
namespace {

constexpr std::array<FileType, EXT2_FT_MAX> kTypes{
    FileType::regular,      FileType::regular, FileType::directory, FileType::character_device,
    FileType::block_device, FileType::fifo,    FileType::socket,    FileType::symlink};

Result<FoundRecord> find_linear(DirectoryFile& directory, std::string_view name) {
  for (std::uint32_t block = 0; block < directory.blocks(); ++block) {
    HF_ASSIGN(BlockRef ref, directory.read(block, BlockKind::directory));
    HF_ASSIGN(const Search result, search_block(directory, ref, block, name));
    if (result.found != kNoRecord) return FoundRecord{std::move(ref), block, result.found, result.before};
  }
  return FoundRecord{};
}

Result<FoundRecord> find_indexed(DirectoryFile& directory, std::string_view name) {
  HF_ASSIGN(HashTree tree, HashTree::open(directory));
  const std::uint32_t major = tree.function()(name).major;
  HF_TRY(tree.descend(major));
  for (;;) {
    HF_ASSIGN(BlockRef ref, directory.read(tree.leaf(), BlockKind::directory));
    HF_ASSIGN(const Search result, search_block(directory, ref, tree.leaf(), name));
    if (result.found != kNoRecord) return FoundRecord{std::move(ref), tree.leaf(), result.found, result.before};
    if (!tree.continues(major)) return FoundRecord{};
    HF_ASSIGN(const bool more, tree.next());
    if (!more) return FoundRecord{};
  }
}

}  // namespace

Status check_name(InodeNumber directory, std::string_view name) {
  const auto object = [&] { return fmt::format("directory inode {}", raw(directory)); };
  if (name.size() > kNameBytesMax) return Error(ENAMETOOLONG, object(), "a name has at most 255 bytes");
  if (name.empty() || name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos) {
    return Error(EINVAL, object(), "a name is not empty and has no slash and no zero byte");
  }
  return {};
}

Result<FoundRecord> find_dot(DirectoryFile& directory, std::string_view name) {
  HF_ASSIGN(BlockRef ref, directory.read(0, directory.indexed() ? BlockKind::hash_tree_node : BlockKind::directory));
  const BlockShape& shape = directory.shape();
  const bool parent = name.size() == 2;
  const RecordHeader dot = header_at(ref.data(), kDotAt);
  if (dot.bytes != kRecordBytesMin || dot.name_bytes != 1 || static_cast<char>(ref.data()[8]) != '.') {
    return directory.damaged_at(0, kDotAt, "`.` is not the first name");
  }
  const RecordHeader dot_dot = header_at(ref.data(), kDotDotAt);
  if (dot_dot.name_bytes != 2 || std::memcmp(ref.data() + kDotDotAt + sizeof dot_dot, "..", 2) != 0) {
    return directory.damaged_at(0, kDotDotAt, "`..` is not the second name");
  }
  const RecordHeader& wanted = parent ? dot_dot : dot;
  if (wanted.inode == 0 || wanted.inode > shape.inodes) {
    return directory.damaged_at(0, parent ? kDotDotAt : kDotAt, "an inode number out of range");
  }
  return FoundRecord{std::move(ref), 0, parent ? kDotDotAt : kDotAt, parent ? kDotAt : kNoRecord};
}

Result<FoundRecord> find_record(DirectoryFile& directory, std::string_view name) {
  return directory.indexed() ? find_indexed(directory, name) : find_linear(directory, name);
}

Result<Search> search_block(const DirectoryFile& directory, const BlockRef& ref, std::uint32_t block,
                            std::string_view name, std::uint32_t need) {
  const Search result = search(ref.data(), directory.shape(), name, need);
  if (result.damage != nullptr) return directory.damaged_at(block, result.damaged_at, result.damage);
  return result;
}

std::uint8_t type_byte(const DirectoryFile& directory, FileType type) {
  if (!directory.shape().has_types) return EXT2_FT_UNKNOWN;
  switch (type) {
    case FileType::regular:
      return EXT2_FT_REG_FILE;
    case FileType::directory:
      return EXT2_FT_DIR;
    case FileType::symlink:
      return EXT2_FT_SYMLINK;
    case FileType::character_device:
      return EXT2_FT_CHRDEV;
    case FileType::block_device:
      return EXT2_FT_BLKDEV;
    case FileType::fifo:
      return EXT2_FT_FIFO;
    case FileType::socket:
      return EXT2_FT_SOCK;
  }
  return EXT2_FT_UNKNOWN;
}

FileType type_of(DirectoryFile& directory, std::uint32_t inode, std::uint8_t type) {
  if (type != EXT2_FT_UNKNOWN && type < kTypes.size()) return kTypes[type];
  const Result<RawInode*> raw_inode = directory.volume().inode(InodeNumber{inode});
  if (!raw_inode) return FileType::regular;
  switch ((*raw_inode)->body.i_mode & S_IFMT) {
    case S_IFDIR:
      return FileType::directory;
    case S_IFLNK:
      return FileType::symlink;
    case S_IFCHR:
      return FileType::character_device;
    case S_IFBLK:
      return FileType::block_device;
    case S_IFIFO:
      return FileType::fifo;
    case S_IFSOCK:
      return FileType::socket;
    default:
      return FileType::regular;
  }
}

}  // namespace holdfast::ext4
