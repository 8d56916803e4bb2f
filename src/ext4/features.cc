#include "ext4/features.h"

#include <cerrno>

#include <fmt/format.h>

namespace holdfast::ext4 {
namespace {

struct Refusal {
  std::uint32_t bit;
  const char* name;
  const char* remedy;
};

constexpr std::uint32_t kIncompatKnown = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT2_FEATURE_INCOMPAT_META_BG |
                                         EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT |
                                         EXT4_FEATURE_INCOMPAT_FLEX_BG | EXT4_FEATURE_INCOMPAT_CSUM_SEED |
                                         EXT4_FEATURE_INCOMPAT_LARGEDIR | EXT3_FEATURE_INCOMPAT_RECOVER;

constexpr std::uint32_t kRoCompatKnown =
    EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
    EXT4_FEATURE_RO_COMPAT_GDT_CSUM | EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
    EXT4_FEATURE_RO_COMPAT_BIGALLOC | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM | EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT;

// journal_dev and what concerns the journal have their own words below.
constexpr Refusal kIncompatRefusals[] = {
    {EXT2_FEATURE_INCOMPAT_COMPRESSION, "compression", "make the image without it"},
    {EXT4_FEATURE_INCOMPAT_MMP, "mmp (multiple mount protection)", "tune2fs -O ^mmp"},
    {EXT4_FEATURE_INCOMPAT_EA_INODE, "ea_inode", "make the image with mke2fs -O ^ea_inode"},
    {EXT4_FEATURE_INCOMPAT_DIRDATA, "dirdata", "make the image without it"},
    {EXT4_FEATURE_INCOMPAT_INLINE_DATA, "inline_data", "make the image with mke2fs -O ^inline_data"},
    {EXT4_FEATURE_INCOMPAT_ENCRYPT, "encrypt", "make the image with mke2fs -O ^encrypt"},
    {EXT4_FEATURE_INCOMPAT_CASEFOLD, "casefold", "make the image with mke2fs -O ^casefold"},
};

// Reading is safe; writing would leave something stale.
constexpr Refusal kRoCompatRefusals[] = {
    {EXT4_FEATURE_RO_COMPAT_HAS_SNAPSHOT, "has_snapshot", "mount it read-only"},
    {EXT4_FEATURE_RO_COMPAT_QUOTA, "quota", "tune2fs -O ^quota, or mount it read-only"},
    {EXT4_FEATURE_RO_COMPAT_REPLICA, "replica", "mount it read-only"},
    {EXT4_FEATURE_RO_COMPAT_READONLY, "read-only", "tune2fs -O ^read-only, or mount it read-only"},
    {EXT4_FEATURE_RO_COMPAT_PROJECT, "project", "tune2fs -O ^project, or mount it read-only"},
    {EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS, "shared_blocks", "e2fsck -E unshare_blocks, or mount it read-only"},
    {EXT4_FEATURE_RO_COMPAT_VERITY, "verity", "mount it read-only"},
};

Error refused(const std::string& device, const char* name, const char* remedy) {
  return Error(ENOTSUP, device, fmt::format("the image has the feature {}, which is not supported", name), remedy);
}

Error unknown(const std::string& device, const char* set, std::uint32_t bits, const char* remedy) {
  return Error(ENOTSUP, device, fmt::format("the image has unknown {} feature bits {:#x}", set, bits), remedy);
}

Status check_incompat(const ext2_super_block& super, const std::string& device) {
  const std::uint32_t bits = super.s_feature_incompat;
  if ((bits & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV) != 0) {
    return Error(ENOTSUP, device, "this is an external journal, not a file system", "name the file system's device");
  }
  for (const Refusal& refusal : kIncompatRefusals) {
    if ((bits & refusal.bit) != 0) return refused(device, refusal.name, refusal.remedy);
  }
  if (const std::uint32_t other = bits & ~kIncompatKnown; other != 0) {
    return unknown(device, "incompatible", other, "use the tools that made it");
  }
  return {};
}

Status check_ro_compat(const ext2_super_block& super, const std::string& device) {
  const std::uint32_t bits = super.s_feature_ro_compat;
  for (const Refusal& refusal : kRoCompatRefusals) {
    if ((bits & refusal.bit) != 0) return refused(device, refusal.name, refusal.remedy);
  }
  if (const std::uint32_t other = bits & ~kRoCompatKnown; other != 0) {
    return unknown(device, "read-only compatible", other, "mount it read-only");
  }
  return {};
}

Status check_journal(const ext2_super_block& super, const std::string& device, bool read_only) {
  const bool recover = (super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0;
  if ((super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) == 0) {
    if (!recover) return {};
    return Error(EUCLEAN, device, "its journal needs recovery, but it has none", "run e2fsck -fy");
  }
  if (super.s_journal_inum == 0) {
    if (recover) {
      return Error(ENOTSUP, device, "it needs recovery, and the journal lies on another device", "run e2fsck -p");
    }
    if (read_only) return {};
    return Error(ENOTSUP, device, "the journal lies on another device",
                 "tune2fs -O ^has_journal, or mount it read-only");
  }
  if (!read_only && (super.s_feature_compat & EXT4_FEATURE_COMPAT_FAST_COMMIT) != 0) {
    return Error(ENOTSUP, device, "the image has the feature fast_commit, which is not supported",
                 "run e2fsck -p, then tune2fs -O ^fast_commit");
  }
  return {};
}

Status check_clean(const ext2_super_block& super, const std::string& device) {
  if ((super.s_state & EXT2_ERROR_FS) != 0) {
    return Error(EUCLEAN, device, "errors were found in this file system and are not repaired", "run e2fsck -p");
  }
  // With a journal that is to be replayed, a filled orphan file is all that the state speaks of (VolumeCore).
  const bool orphans = (super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0 &&
                       (super.s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT) != 0;
  if ((super.s_state & EXT2_VALID_FS) == 0 && !orphans) {
    return Error(EUCLEAN, device, "the file system was not closed cleanly", "run e2fsck -p, or mount it read-only");
  }
  return {};
}

}  // namespace

Status check_features(const ext2_super_block& super, const std::string& device, bool read_only) {
  HF_TRY(check_incompat(super, device));
  HF_TRY(check_journal(super, device, read_only));
  if (read_only) return {};
  HF_TRY(check_ro_compat(super, device));
  return check_clean(super, device);
}

}  // namespace holdfast::ext4
