// The blocks of a directory: every record, what it names, and where the index says that it belongs.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "ext4/dir_block.h"
#include "ext4/directory_file.h"
#include "ext4/hash_tree_node.h"
#include "ext4/verify_index.h"
#include "ext4/verify_state.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kRoot = EXT2_ROOT_INO;

class DirectoryVerifier {
 public:
  DirectoryVerifier(Verifying& verifying, FoundDirectory& directory)
      : verifying_(verifying),
        directory_(directory),
        shape_(BlockShape::make(verifying.geometry().inodes, verifying.geometry().metadata_checksums,
                                verifying.incompatible(EXT2_FEATURE_INCOMPAT_FILETYPE))) {
    if (directory.indexed) index_.emplace(verifying, directory);
  }

  void run() {
    for (const ExtentRecord& run : directory_.runs) {
      for (std::uint64_t i = 0; i < run.count; ++i) {
        check_block(static_cast<std::uint32_t>(run.logical + i), run.block + i);
      }
    }
    if (index_) index_->judge();
  }

 private:
  void problem(std::uint32_t block, std::string_view what) {
    verifying_.problem(directory_.inode, fmt::format("block {} of the directory: {}", block, what));
  }

  enum class Part : std::uint8_t { leaf, node, root };

  Part part_of(std::uint32_t block, const std::byte* bytes) const {
    if (!index_) return Part::leaf;
    if (block == 0) return Part::root;
    const RecordHeader header = header_at(bytes, 0);
    CountLimit counts;
    std::memcpy(&counts, bytes + kNodeEntriesAt, sizeof counts);
    const bool node = header.inode == 0 && header.bytes == kBlockBytes && header.name_bytes == 0 &&
                      counts.limit == index_entries_max(kNodeEntriesAt, shape_.has_tail);
    return node ? Part::node : Part::leaf;
  }

  void check_block(std::uint32_t block, BlockNumber where) {
    BlockCache& cache = verifying_.volume.cache();
    Result<BlockRef> ref = cache.read(where, BlockKind::plain);
    if (!ref) return problem(block, ref.error().reason());
    const Part part = part_of(block, ref->data());
    ref = cache.read(where, part == Part::leaf ? BlockKind::directory : BlockKind::hash_tree_node, directory_.seed);
    if (!ref) return problem(block, ref.error().reason());
    const std::byte* const bytes = ref->data();
    if (part == Part::root && index_) {
      RootInfo info;
      std::memcpy(&info, bytes + kRootInfoAt, sizeof info);
      hash_ = hash_function_of(verifying_.super(), static_cast<HashVersion>(info.hash_version));
    }
    check_records(block, bytes, part == Part::leaf ? shape_.end : kBlockBytes);
    if (part == Part::root) index_->saw_root(bytes);
    if (part == Part::node) index_->saw_node(block, bytes);
  }

  void check_records(std::uint32_t block, const std::byte* bytes, std::uint32_t end) {
    names_.clear();
    std::uint32_t place = block == 0 ? 0 : 2;  // 0: `.`; 1: `..`
    for (std::uint32_t at = 0; at < end; ++place) {
      if (end - at < sizeof(RecordHeader)) return problem(block, "bytes behind the last record");
      const RecordHeader header = header_at(bytes, at);
      if (header.bytes < kRecordBytesMin || header.bytes % 4 != 0 || header.bytes > end - at ||
          record_bytes(header.name_bytes) > header.bytes) {
        return problem(block, fmt::format("the record at {} has an impossible length", at));
      }
      const auto* const text = reinterpret_cast<const char*>(bytes + at + sizeof header);
      check_record(block, place, header, {text, header.name_bytes});
      at += header.bytes;
    }
    std::sort(names_.begin(), names_.end());
    const auto twice = std::adjacent_find(names_.begin(), names_.end());
    if (twice != names_.end()) problem(block, fmt::format("the name '{}' is there twice", *twice));
  }

  void check_record(std::uint32_t block, std::uint32_t place, const RecordHeader& header, std::string_view name) {
    if (place < 2) {
      check_dot(block, place == 0 ? "." : "..", header, name);
    } else if (header.inode == directory_.inode) {
      problem(block, fmt::format("the name '{}' leads to the directory itself", name));
    }
    if (header.inode == 0) return;
    if (const char* wrong = wrong_target(place, header.inode, name)) {
      return problem(block, fmt::format("the name '{}' {}", name, wrong));
    }
    CensusEntry* const entry = verifying_.census.find(header.inode);
    if (entry == nullptr) {
      return problem(block, fmt::format("the name '{}' leads to inode {}, which is not in use", name, header.inode));
    }
    if (!type_fits(*entry, header.type)) {
      problem(block, fmt::format("the name '{}' has another type than inode {}", name, header.inode));
    }
    if (name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos) {
      problem(block, "a name with a slash or a zero byte");
    }
    if (index_) index_->saw_name(block, hash_(name).major);
    if (place >= 2 && entry->directory) set_parent(block, header.inode, name);
    if (entry->names < CensusEntry::kNamesMax) ++entry->names;
    if (place >= 2) ++verifying_.found.names;
    names_.push_back(name);
  }

  // `.` and `..` end with a zero, which is read as part of their record.
  void check_dot(std::uint32_t block, std::string_view dot, const RecordHeader& header, std::string_view name) {
    const bool is_dot = header.inode != 0 && name == dot && name.data()[name.size()] == '\0';
    if (!is_dot) problem(block, fmt::format("`{}` is not where it belongs", dot));
    if (dot.size() == 1 && header.inode != directory_.inode) problem(block, "`.` is another inode");
    if (dot.size() == 2 && is_dot) directory_.dot_dot = header.inode;
  }

  // Null: the inode may have this name.
  const char* wrong_target(std::uint32_t place, std::uint32_t inode, std::string_view name) const {
    const ext2_super_block& super = verifying_.super();
    if (inode > verifying_.geometry().inodes || !verifying_.may_have_names(inode) || inode == super.s_usr_quota_inum ||
        inode == super.s_grp_quota_inum) {
      return "leads to an inode that no name may lead to";
    }
    if (place < 2) return nullptr;
    if (name == "." || name == "..") return "stands where it does not belong";
    if (inode == kRoot) return "leads to the root";
    if (name.empty()) return "is empty";
    return nullptr;
  }

  // 0 says nothing.
  bool type_fits(const CensusEntry& entry, std::uint8_t type) const {
    constexpr std::uint8_t kOfMode[16] = {0,
                                          EXT2_FT_FIFO,
                                          EXT2_FT_CHRDEV,
                                          0,
                                          EXT2_FT_DIR,
                                          0,
                                          EXT2_FT_BLKDEV,
                                          0,
                                          EXT2_FT_REG_FILE,
                                          0,
                                          EXT2_FT_SYMLINK,
                                          0,
                                          EXT2_FT_SOCK,
                                          0,
                                          0,
                                          0};
    return type == EXT2_FT_UNKNOWN || (shape_.has_types && type == kOfMode[entry.type & 15U]);
  }

  void set_parent(std::uint32_t block, std::uint32_t inode, std::string_view name) {
    FoundDirectory* const child = verifying_.directory(inode);
    if (child == nullptr) return;
    if (child->parent != 0) {
      problem(block, fmt::format("the name '{}' is a second one of directory inode {}", name, inode));
      return;
    }
    child->parent = directory_.inode;
  }

  Verifying& verifying_;
  FoundDirectory& directory_;
  const BlockShape shape_;
  std::optional<IndexVerifier> index_;
  HashFunction hash_;
  std::vector<std::string_view> names_;  // of a block
};

}  // namespace

void verify_directory(Verifying& verifying, FoundDirectory& directory) {
  DirectoryVerifier(verifying, directory).run();
}

}  // namespace holdfast::ext4
