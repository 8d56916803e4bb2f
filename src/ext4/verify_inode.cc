// One inode of the table: what it may say of itself, by the part that it has, and whether its counts are what its
// blocks say.
#include <fmt/format.h>

#include <cstring>

#include "ext4/checksum.h"
#include "ext4/hash_tree_node.h"
#include "ext4/verify_state.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kUserQuota = 3;
constexpr std::uint32_t kGroupQuota = 4;
constexpr std::uint32_t kBootLoader = 5;
constexpr std::uint64_t kLargeFile = std::uint64_t{1} << 31;
constexpr std::uint64_t kFileBytesMax = kBlockBytes << 32U;
// 12 + 1024 + 1024^2 + 1024^3 blocks.
constexpr std::uint64_t kOldFileBytesMax =
    (12 + 1024 + (std::uint64_t{1} << 20) + (std::uint64_t{1} << 30)) * kBlockBytes;

enum class Role : std::uint8_t { bad_blocks, root, journal, orphan_file, quota, reserved, ordinary };

class InodeVerifier {
 public:
  InodeVerifier(Verifying& verifying, const ScannedInode& inode)
      : verifying_(verifying), inode_(inode), body_(inode.body), role_(role()) {}

  void run() {
    check_checksum();
    if (body_.i_dtime != 0 && body_.i_dtime < verifying_.geometry().inodes && times_are_times()) {
      problem("it is on the list of orphans, or was left there: its time of deletion is the number of an inode");
    }
    // A number of the orphan file that is left over makes no inode a used one.
    const bool may_be_free = role_ == Role::ordinary || role_ == Role::orphan_file;
    if (body_.i_links_count == 0 && may_be_free && inode_.number >= verifying_.super().s_first_ino) {
      if (body_.i_dtime == 0 && body_.i_mode != 0) problem("no links, but it was not deleted");
      return;
    }
    check_storage_flags();
    if (role_ != Role::ordinary && !check_reserved()) return;
    if (body_.i_links_count != 0) check_ordinary();
  }

 private:
  void problem(const std::string& what) { verifying_.problem(inode_.number, what); }

  Role role() const {
    const ext2_super_block& super = verifying_.super();
    const std::uint32_t number = inode_.number;
    if (number == EXT2_BAD_INO) return Role::bad_blocks;
    if (number == EXT2_ROOT_INO) return Role::root;
    if (number == EXT2_JOURNAL_INO) return Role::journal;
    if (number == kUserQuota || number == kGroupQuota || number == super.s_prj_quota_inum) return Role::quota;
    if (number == super.s_orphan_file_inum) return Role::orphan_file;
    return number < super.s_first_ino ? Role::reserved : Role::ordinary;
  }

  CensusEntry& enter() {
    CensusEntry& entry = verifying_.census.enter(inode_.number);
    entry.used = true;
    entry.type = static_cast<std::uint8_t>(body_.i_mode >> 12);
    entry.links = body_.i_links_count;
    entry.indexed = inode_.has(EXT2_INDEX_FL);
    return entry;
  }

  void check_checksum() {
    if (!verifying_.geometry().metadata_checksums) return;
    const std::uint32_t seed = verifying_.volume.inode_seed(InodeNumber{inode_.number}, body_.i_generation);
    if (inode_verifies(seed, inode_.bytes, verifying_.geometry().inode_bytes)) return;
    problem("its checksum does not match");
  }

  // Of images whose clock began at zero, small times mean nothing.
  bool times_are_times() const {
    const ext2_super_block& super = verifying_.super();
    const std::uint32_t inodes = verifying_.geometry().inodes;
    const auto low = [inodes](std::uint32_t time) { return time != 0 && time < inodes; };
    return !low(super.s_wtime) && !low(super.s_mtime) && !low(super.s_mkfs_time);
  }

  // Flags that say where data and names are.
  void check_storage_flags() {
    const bool extents = inode_.has(EXT4_EXTENTS_FL);
    const bool looked_at =
        body_.i_links_count != 0 || role_ == Role::bad_blocks || role_ == Role::root || role_ == Role::journal;
    if (inode_.has(EXT4_CASEFOLD_FL)) problem("case-folded, in a file system that does not fold");
    if (inode_.has(EXT4_INLINE_DATA_FL) && (extents || inode_.number >= verifying_.super().s_first_ino)) {
      problem("data inside the inode, in a file system that has none there");
    }
    if (!looked_at) return;
    const bool has_extents = verifying_.incompatible(EXT3_FEATURE_INCOMPAT_EXTENTS);
    if (extents && !has_extents) problem("extents, in a file system without them");
    if (!extents && has_extents && (inode_.is(LINUX_S_IFREG) || inode_.is(LINUX_S_IFDIR))) {
      ExtentHeader header;
      std::memcpy(&header, body_.i_block, sizeof header);
      if (is_extent_header(header, kRootEntries)) problem("it has a tree of extents, and does not say so");
    }
  }

  // Inodes that belong to the file system itself. Whether it is to be looked at further as one that has a name.
  bool check_reserved() {
    switch (role_) {
      case Role::bad_blocks:
        if (body_.i_mode != 0 || body_.i_uid != 0 || body_.i_gid != 0 || body_.i_links_count != 0 ||
            inode_.has(EXT4_INLINE_DATA_FL) || body_.i_file_acl != 0) {
          problem("the list of bad blocks is more than that");
        }
        enter();
        verify_map(verifying_, inode_);
        return false;
      case Role::root:
        if (!inode_.is(LINUX_S_IFDIR)) problem("the root is not a directory");
        if (body_.i_dtime != 0 && body_.i_links_count != 0) problem("the root was deleted");
        return true;
      case Role::journal:
        return check_file_of(verifying_.super().s_journal_inum == EXT2_JOURNAL_INO);
      case Role::orphan_file:
        return check_file_of(verifying_.compatible(EXT4_FEATURE_COMPAT_ORPHAN_FILE));
      case Role::quota:
        return check_file_of(false);
      default:
        enter();
        if (reserved_has_wrong_type()) problem(fmt::format("it is reserved, and has the mode {:#o}", body_.i_mode));
        if (inode_.number == EXT2_RESIZE_INO) verify_resize_inode(verifying_, inode_);
        check_blocks();
        return false;
    }
  }

  // A regular file that the file system uses, or nothing.
  bool check_file_of(bool in_use) {
    enter();
    if (in_use) {
      if (!inode_.is(LINUX_S_IFREG)) problem("it belongs to the file system, and is not a file");
      check_blocks();
      return false;
    }
    if (body_.i_links_count != 0 || body_.i_blocks != 0 || body_.i_block[0] != 0) {
      problem("it is reserved for a feature that is off, and not empty");
    }
    return true;
  }

  bool reserved_has_wrong_type() const {
    if (inode_.number == kBootLoader) return inode_.is(LINUX_S_IFDIR);
    if (inode_.number == EXT2_RESIZE_INO) return body_.i_mode != 0 && !inode_.is(LINUX_S_IFREG);
    return body_.i_mode != 0;
  }

  void check_ordinary() {
    const bool is_directory = inode_.is(LINUX_S_IFDIR);
    if (body_.i_dtime != 0 && role_ != Role::root) problem("in use, and deleted");
    CensusEntry& entry = enter();
    entry.directory = is_directory;
    const bool wide = verifying_.incompatible(EXT4_FEATURE_INCOMPAT_64BIT);
    if (body_.i_faddr != 0) problem("it has a fragment");
    if (!wide && body_.osd2.linux2.l_i_file_acl_high != 0) problem("its attributes lie too far");
    if (!has_huge_files() && body_.osd2.linux2.l_i_blocks_hi != 0) problem("it counts too many blocks");
    if (is_directory && body_.i_size_high != 0 && !verifying_.incompatible(EXT4_FEATURE_INCOMPAT_LARGEDIR) &&
        body_.i_blocks < 1U << 17) {
      problem("a directory with a size that has more than 32 bits");
    }
    if (inode_.has(EXT2_IMAGIC_FL) && !verifying_.compatible(EXT2_FEATURE_COMPAT_IMAGIC_INODES)) {
      problem("it has the flag imagic");
    }
    if (inode_.has(EXT4_ENCRYPT_FL)) problem("encrypted, in a file system without encryption");
    verify_attributes_inside(verifying_, inode_);
    verify_kind(verifying_, inode_);
    check_blocks();
    count();
  }

  void count() {
    filesystem::Verification& found = verifying_.found;
    if (role_ != Role::ordinary && role_ != Role::root) return;
    if (inode_.is(LINUX_S_IFREG)) {
      ++found.files;
    } else if (inode_.is(LINUX_S_IFDIR)) {
      ++found.directories;
    } else if (inode_.is(LINUX_S_IFLNK)) {
      ++found.symlinks;
    } else {
      ++found.nodes;
    }
  }

  // --- blocks ---

  bool has_huge_files() const { return verifying_.read_only_compatible(EXT4_FEATURE_RO_COMPAT_HUGE_FILE); }

  void check_blocks() {
    const bool is_directory = inode_.is(LINUX_S_IFDIR);
    const std::uint64_t attributes = verify_attribute_block(verifying_, inode_);
    FoundBlocks blocks;
    if (has_map(verifying_, inode_)) blocks = verify_map(verifying_, inode_);
    const std::uint64_t clusters = blocks.clusters + attributes;
    const bool indexed = inode_.has(EXT2_INDEX_FL) && check_index(blocks);
    if (is_directory && clusters == 0) problem("a directory without blocks");
    if (!inode_.is(LINUX_S_IFLNK)) check_size(blocks);
    check_count(clusters);
    if (inode_.is(LINUX_S_IFREG) && inode_.size() >= kLargeFile) verifying_.large_files = true;
    const bool of_old = !inode_.has(EXT4_EXTENTS_FL) && (role_ == Role::ordinary || role_ == Role::root);
    if (of_old && verifying_.read_only_compatible(EXT4_FEATURE_RO_COMPAT_BIGALLOC) && blocks.clusters != 0 &&
        (is_directory || inode_.is(LINUX_S_IFREG))) {
      problem("a map of block numbers, in a file system with clusters");
    }
    if (!is_directory || (role_ != Role::ordinary && role_ != Role::root)) return;
    const std::uint32_t seed = verifying_.volume.inode_seed(InodeNumber{inode_.number}, body_.i_generation);
    verifying_.directories.push_back({inode_.number, seed, static_cast<std::uint32_t>(blocks.end), indexed,
                                      inode_.number == EXT2_ROOT_INO ? inode_.number : 0, 0, std::move(blocks.runs)});
  }

  void check_size(const FoundBlocks& blocks) {
    const std::uint64_t size = inode_.size();
    if (inode_.is(LINUX_S_IFDIR)) {
      const std::uint64_t counted = size / kBlockBytes;
      const bool wrong = size % kBlockBytes != 0 || counted > blocks.end ||
                         blocks.end - counted > verifying_.super().s_prealloc_dir_blocks;
      if (wrong) problem(fmt::format("a directory of {} bytes with {} blocks", size, blocks.end));
      return;
    }
    const bool extents = inode_.has(EXT4_EXTENTS_FL) && verifying_.incompatible(EXT3_FEATURE_INCOMPAT_EXTENTS);
    if (blocks.last_written >= 0 && size < static_cast<std::uint64_t>(blocks.last_written) * kBlockBytes &&
        !inode_.has(EXT4_VERITY_FL)) {
      problem(fmt::format("{} bytes long, with something written in file block {}", size, blocks.last_written));
    } else if (size > (extents ? kFileBytesMax - 1 : kOldFileBytesMax)) {
      problem(fmt::format("{} bytes are more than a file can have", size));
    }
  }

  void check_count(std::uint64_t clusters) {
    const bool in_blocks = has_huge_files() && inode_.has(EXT4_HUGE_FILE_FL);
    const std::uint64_t blocks = clusters * verifying_.geometry().blocks_per_cluster();
    const std::uint64_t expected = in_blocks ? blocks : blocks * (kBlockBytes / 512);
    const std::uint64_t high = has_huge_files() ? body_.osd2.linux2.l_i_blocks_hi : 0U;
    const std::uint64_t said = body_.i_blocks | high << 32;
    if (said == expected && !(in_blocks && high != 0)) return;
    problem(fmt::format("it counts {} {}, and has {}", said, in_blocks ? "blocks" : "sectors", expected));
  }

  // The head of a directory's index; the rest is looked at with its names.
  bool check_index(const FoundBlocks& blocks) {
    const auto bad = [this](const std::string& what) {
      problem(what);
      return false;
    };
    if (!inode_.is(LINUX_S_IFDIR)) return bad("indexed, and no directory");
    if (!verifying_.compatible(EXT2_FEATURE_COMPAT_DIR_INDEX)) return bad("indexed, in a file system without indexes");
    if (blocks.runs.empty() || blocks.runs.front().logical != 0) return bad("an index without a root");
    const Result<BlockRef> root = verifying_.volume.cache().read(blocks.runs.front().block, BlockKind::plain);
    if (!root) return bad(root.error().reason());
    const auto info = *root->as<RootInfo>(kRootInfoAt);
    const unsigned levels_max =
        verifying_.incompatible(EXT4_FEATURE_INCOMPAT_LARGEDIR) ? EXT4_HTREE_LEVEL : EXT4_HTREE_LEVEL_COMPAT;
    if (info.reserved != 0 || info.bytes != sizeof(RootInfo) || info.hash_version > EXT2_HASH_TEA ||
        (info.flags & EXT2_HASH_FLAG_INCOMPAT) != 0 || info.levels >= levels_max) {
      return bad("the root of its index has no valid head");
    }
    if (inode_.size() >= kLargeFile) verifying_.large_directories = true;
    return true;
  }

  Verifying& verifying_;
  const ScannedInode& inode_;
  const ext2_inode_large& body_;
  const Role role_;
};

}  // namespace

void verify_inode(Verifying& verifying, const ScannedInode& inode) { InodeVerifier(verifying, inode).run(); }

}  // namespace holdfast::ext4
