#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ext4/checksum.h"
#include "ext4/journal_area.h"
#include "ext4/journal_super.h"
#include "ext4/verify.h"
#include "ext4/verify_state.h"

namespace holdfast::ext4 {

void Verifying::problem(std::uint32_t inode, const std::string& what) {
  problem(fmt::format("inode {}: {}", inode, what));
}

void Verifying::problem(const Error& error) { problem(error.reason()); }

void Verifying::problem(std::uint32_t inode, const Error& error) { problem(inode, error.reason()); }

FoundDirectory* Verifying::directory(std::uint32_t inode) {
  const auto at = std::lower_bound(directories.begin(), directories.end(), inode,
                                   [](const FoundDirectory& d, std::uint32_t wanted) { return d.inode < wanted; });
  return at != directories.end() && at->inode == inode ? &*at : nullptr;
}

namespace {

// Features whose accounts nobody here reads.
constexpr std::uint32_t kUncounted = EXT4_FEATURE_RO_COMPAT_QUOTA | EXT4_FEATURE_RO_COMPAT_HAS_SNAPSHOT |
                                     EXT4_FEATURE_RO_COMPAT_REPLICA | EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS;

class VolumeVerifier {
 public:
  VolumeVerifier(VolumeCore& volume, const filesystem::VerifyProgress& progress)
      : verifying_(volume), geometry_(volume.geometry()), groups_(volume.groups()), progress_(progress) {}

  Result<filesystem::Verification> run() {
    if (verifying_.read_only_compatible(kUncounted)) {
      return Error(ENOTSUP, verifying_.volume.name(),
                   "it keeps quotas or snapshots, or shares blocks, and whether those are right is not known here",
                   "run e2fsck -fn");
    }
    const ext2_super_block& super = verifying_.super();
    if ((super.s_feature_compat & ~std::uint32_t{EXT2_LIB_FEATURE_COMPAT_SUPP}) != 0 ||
        (super.s_feature_ro_compat & ~std::uint32_t{EXT2_LIB_FEATURE_RO_COMPAT_SUPP}) != 0) {
      return Error(ENOTSUP, verifying_.volume.name(), "it has features that are not known here", "run e2fsck -fn");
    }
    if (std::any_of(std::begin(super.s_journal_uuid), std::end(super.s_journal_uuid), [](auto b) { return b != 0; })) {
      return Error(ENOTSUP, verifying_.volume.name(), "its journal lies on another device", "run e2fsck -fn");
    }
    check_superblock();
    check_journal();
    for (const BlockZone& zone : groups_.zones()) {
      const std::uint64_t first = geometry_.cluster_of(zone.first);
      verifying_.clusters.claim(first, geometry_.cluster_of(zone.end - 1) + 1 - first);
    }
    for (GroupNumber group = 0; group < geometry_.groups; ++group) {
      check_descriptor(group);
      scan_inodes(group);
      HF_TRY(step());
    }
    verify_attribute_references(verifying_);
    check_large();
    HF_TRY(check_directories());
    verify_links(verifying_);
    for (GroupNumber group = 0; group < geometry_.groups; ++group) {
      verify_group_space(verifying_, group);
      HF_TRY(step());
    }
    check_orphan_file();
    return std::move(verifying_.found);
  }

 private:
  // One of as many as three for each group: inodes, directories, bitmaps.
  Status step(std::uint64_t steps = 1) {
    verifying_.volume.trim();
    done_ += steps;
    if (progress_ == nullptr || progress_(done_, std::uint64_t{3} * geometry_.groups)) return {};
    return Error(ECANCELED, verifying_.volume.name(), "the verification was ended");
  }

  void check_superblock() {
    const ext2_super_block& super = verifying_.super();
    const auto problem = [this](const std::string& what) { verifying_.problem("superblock: " + what); };
    if (verifying_.volume.recovery().superblock_restored) problem("a write of it was cut short");
    const bool wide = verifying_.incompatible(EXT4_FEATURE_INCOMPAT_64BIT);
    const std::uint64_t kept = super.s_r_blocks_count | (wide ? std::uint64_t{super.s_r_blocks_count_hi} << 32 : 0);
    if (kept > geometry_.blocks / 2) problem(fmt::format("{} of {} blocks are reserved", kept, geometry_.blocks));
    const std::uint64_t table_max = std::uint64_t{geometry_.inodes_per_block()} * (geometry_.blocks_per_group - 4);
    if (geometry_.inodes_per_group > table_max) problem("more inodes in a group than it can have");
    const bool resizes = verifying_.compatible(EXT2_FEATURE_COMPAT_RESIZE_INODE);
    if (!resizes && super.s_reserved_gdt_blocks != 0) problem("space is reserved for descriptors, and no inode has it");
    if (resizes && verifying_.incompatible(EXT2_FEATURE_INCOMPAT_META_BG)) {
      problem("space is reserved for descriptors, which lie elsewhere");
    }
    if (geometry_.inode_bytes > EXT2_GOOD_OLD_INODE_SIZE) {
      const std::uint32_t room = geometry_.inode_bytes - EXT2_GOOD_OLD_INODE_SIZE;
      for (const std::uint32_t extra : {super.s_min_extra_isize, super.s_want_extra_isize}) {
        if (extra != 0 && (extra < 4 || extra > room || extra % 4 != 0)) problem(fmt::format("extra size {}", extra));
      }
    }
    check_feature_pairs();
    for (const std::uint32_t inode : {super.s_usr_quota_inum, super.s_grp_quota_inum, super.s_prj_quota_inum}) {
      if (!may_hold_quotas(inode)) problem(fmt::format("inode {} is said to hold quotas", inode));
    }
  }

  // Features that say different things of the same.
  void check_feature_pairs() {
    const auto problem = [this](const char* what) { verifying_.problem(std::string("superblock: ") + what); };
    const bool checksums = verifying_.read_only_compatible(EXT4_FEATURE_RO_COMPAT_METADATA_CSUM);
    if (checksums && verifying_.read_only_compatible(EXT4_FEATURE_RO_COMPAT_GDT_CSUM)) {
      problem("two kinds of checksums for descriptors");
    }
    if (!checksums && verifying_.incompatible(EXT4_FEATURE_INCOMPAT_CSUM_SEED)) {
      problem("a seed for checksums that there are not");
    }
    if (verifying_.incompatible(EXT4_FEATURE_INCOMPAT_64BIT) &&
        !verifying_.incompatible(EXT3_FEATURE_INCOMPAT_EXTENTS)) {
      problem("block numbers of 64 bits, and maps that hold 32");
    }
  }

  // Also where the feature is off. 0: none does.
  bool may_hold_quotas(std::uint32_t inode) const {
    constexpr std::uint32_t kOthers[] = {EXT2_BAD_INO,    EXT2_ROOT_INO,    EXT2_BOOT_LOADER_INO, EXT2_UNDEL_DIR_INO,
                                         EXT2_RESIZE_INO, EXT2_JOURNAL_INO, EXT2_EXCLUDE_INO,     EXT4_REPLICA_INO};
    return inode <= geometry_.inodes && std::find(std::begin(kOthers), std::end(kOthers), inode) == std::end(kOthers);
  }

  void check_descriptor(GroupNumber group) {
    const auto* const descriptor = reinterpret_cast<const ext4_group_desc*>(
        groups_.bytes().data() + std::size_t{group} * geometry_.descriptor_bytes);
    if (!geometry_.descriptor_checksums &&
        ((descriptor->bg_flags & (EXT2_BG_INODE_UNINIT | EXT2_BG_BLOCK_UNINIT)) != 0 ||
         descriptor->bg_itable_unused != 0)) {
      verifying_.problem(
          fmt::format("group {}: parts of it were never used, in a file system that cannot say so", group));
    }
    if (groups_.unused_inodes(group) > groups_.free_inodes(group)) {
      verifying_.problem(fmt::format("group {}: {} inodes are said to be unused, and {} to be free", group,
                                     groups_.unused_inodes(group), groups_.free_inodes(group)));
    }
  }

  // A mount that replayed it knows that it can be read; others have not looked.
  void check_journal() {
    const ext2_super_block& super = verifying_.super();
    const bool has_journal = verifying_.compatible(EXT3_FEATURE_COMPAT_HAS_JOURNAL);
    if (!has_journal && super.s_journal_inum == 0) return;
    if (!has_journal) return verifying_.problem("superblock: it names a journal, and says that there is none");
    if (verifying_.incompatible(EXT3_FEATURE_INCOMPAT_RECOVER)) return;
    device::Device& device = verifying_.volume.device();
    const Result<JournalArea> area = JournalArea::find(device, super, geometry_);
    if (!area) return verifying_.problem(area.error());
    const Result<JournalSuper> journal = JournalSuper::read(device, *area);
    if (!journal) return verifying_.problem(journal.error());
    if (journal->torn()) verifying_.problem("the journal's superblock has a wrong checksum");
    if (!journal->empty()) verifying_.problem("the journal holds something, and the superblock does not say so");
  }

  void scan_inodes(GroupNumber group) {
    if ((groups_.flags(group) & EXT2_BG_INODE_UNINIT) != 0) return;
    const std::uint32_t unused = std::min(groups_.unused_inodes(group), geometry_.inodes_per_group);
    const std::uint32_t end = geometry_.inodes_per_group - unused;
    ScannedInode inode;
    const std::size_t fixed = std::min<std::size_t>(geometry_.inode_bytes, sizeof inode.body);
    BlockRef block;
    for (std::uint32_t index = 0; index < end; ++index) {
      const std::uint32_t in_block = index % geometry_.inodes_per_block();
      if (in_block == 0) {
        const std::uint64_t number = groups_.inode_table(group) + index / geometry_.inodes_per_block();
        Result<BlockRef> read = verifying_.volume.cache().read(number, BlockKind::inode_table);
        if (!read) {
          verifying_.problem(read.error());
          index += geometry_.inodes_per_block() - 1;
          continue;
        }
        block = std::move(read).value();
        verifying_.volume.trim();
      }
      inode.number = group * geometry_.inodes_per_group + index + 1;
      inode.bytes = block.data() + std::size_t{in_block} * geometry_.inode_bytes;
      std::memcpy(&inode.body, inode.bytes, fixed);
      verify_inode(verifying_, inode);
    }
  }

  void check_large() {
    if (verifying_.large_files && !verifying_.read_only_compatible(EXT2_FEATURE_RO_COMPAT_LARGE_FILE)) {
      verifying_.problem("superblock: there are large files, and it does not say so");
    }
    if (verifying_.large_directories && !verifying_.incompatible(EXT4_FEATURE_INCOMPAT_LARGEDIR)) {
      verifying_.problem("superblock: there are large directories, and it does not say so");
    }
  }

  Status check_directories() {
    const std::uint64_t before = done_;
    const std::size_t count = verifying_.directories.size();
    for (std::size_t i = 0; i < count; ++i) {
      verify_directory(verifying_, verifying_.directories[i]);
      HF_TRY(step(before + geometry_.groups * (i + 1) / count - done_));
    }
    if (count == 0) verifying_.problem("there is no root");
    return {};
  }

  // Nothing may be in it that nobody said, and it may not be said to hold something when it does not.
  void check_orphan_file() {
    const bool said = verifying_.read_only_compatible(EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT);
    if (!verifying_.compatible(EXT4_FEATURE_COMPAT_ORPHAN_FILE)) {
      if (said) verifying_.problem("superblock: it says that the orphan file is in use, and there is none");
      return;
    }
    if (!verifying_.compatible(EXT3_FEATURE_COMPAT_HAS_JOURNAL)) {
      verifying_.problem("superblock: an orphan file, and no journal");
    }
    if (const Status empty = verifying_.volume.orphans().check_file_empty(); !empty) {
      verifying_.problem(empty.error());
    } else if (said) {
      verifying_.problem("superblock: it says that the orphan file is in use, and it is empty");
    }
  }

  Verifying verifying_;
  const Geometry& geometry_;
  const GroupTable& groups_;
  const filesystem::VerifyProgress& progress_;
  std::uint64_t done_ = 0;
};

}  // namespace

Result<filesystem::Verification> verify_volume(VolumeCore& volume, const filesystem::VerifyProgress& progress) {
  return VolumeVerifier(volume, progress).run();
}

}  // namespace holdfast::ext4
