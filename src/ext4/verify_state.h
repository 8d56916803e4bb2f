// What a verification knows so far, which its parts hand on to each other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ext4/extent_node.h"
#include "ext4/verify_clusters.h"
#include "ext4/volume_core.h"
#include "filesystem/format.h"

namespace holdfast::ext4 {

inline constexpr std::size_t kProblemsToldMax = 1000;

// An inode that is in use, in few bytes.
struct CensusEntry {
  std::uint8_t type = 0;  // i_mode >> 12
  bool used = false;
  bool directory = false;   // and one that has names
  bool indexed = false;     // says that it is
  std::uint16_t links = 0;  // what the inode says
  std::uint16_t names = 0;  // how many were found, up to kNamesMax
  static constexpr std::uint16_t kNamesMax = 65500;
};

// All inodes that are in use; a group without any costs a pointer.
class InodeCensus {
 public:
  explicit InodeCensus(const Geometry& geometry) : geometry_(geometry), groups_(geometry.groups) {}

  CensusEntry& enter(std::uint32_t inode) {
    std::unique_ptr<CensusEntry[]>& group = groups_[geometry_.group_of_inode(inode)];
    if (group == nullptr) group = std::make_unique<CensusEntry[]>(geometry_.inodes_per_group);
    return group[geometry_.index_of_inode(inode)];
  }
  // Null: not in use. Precondition: a number that there is.
  CensusEntry* find(std::uint32_t inode) {
    const std::unique_ptr<CensusEntry[]>& group = groups_[geometry_.group_of_inode(inode)];
    if (group == nullptr) return nullptr;
    CensusEntry& entry = group[geometry_.index_of_inode(inode)];
    return entry.used ? &entry : nullptr;
  }
  // Null: none of the group is in use.
  const CensusEntry* of(GroupNumber group) const { return groups_[group].get(); }

 private:
  const Geometry& geometry_;
  std::vector<std::unique_ptr<CensusEntry[]>> groups_;
};

// A directory, in the order of inodes.
struct FoundDirectory {
  std::uint32_t inode = 0;
  std::uint32_t seed = 0;    // of its blocks' checksums
  std::uint32_t blocks = 0;  // up to the last one that it has
  bool indexed = false;      // and the root of its index has a head that makes sense
  std::uint32_t parent = 0;  // the directory with its name; 0: none was found
  std::uint32_t dot_dot = 0;
  std::vector<ExtentRecord> runs;
};

struct AttributeBlock {
  std::uint32_t said = 0;  // how many inodes share it
  std::uint32_t seen = 0;
};

struct Verifying {
  explicit Verifying(VolumeCore& of) : volume(of), clusters(of.geometry()), census(of.geometry()) {}

  void problem(std::string what) {
    if (found.problems.size() < kProblemsToldMax) {
      found.problems.push_back(std::move(what));
    } else {
      ++found.problems_untold;
    }
  }
  void problem(std::uint32_t inode, const std::string& what);
  // What an earlier layer refused to read.
  void problem(const Error& error);
  void problem(std::uint32_t inode, const Error& error);

  const Geometry& geometry() const { return volume.geometry(); }
  const ext2_super_block& super() const { return volume.superblock(); }
  bool compatible(std::uint32_t feature) const { return (super().s_feature_compat & feature) != 0; }
  bool incompatible(std::uint32_t feature) const { return (super().s_feature_incompat & feature) != 0; }
  bool read_only_compatible(std::uint32_t feature) const { return (super().s_feature_ro_compat & feature) != 0; }
  bool is_block(std::uint64_t block) const { return block != 0 && block < geometry().blocks; }
  bool may_have_names(std::uint32_t inode) const {
    return (inode >= super().s_first_ino || inode == EXT2_ROOT_INO) && inode != super().s_orphan_file_inum &&
           inode != super().s_prj_quota_inum;
  }
  // Null: there is none.
  FoundDirectory* directory(std::uint32_t inode);

  VolumeCore& volume;
  ClusterMap clusters;
  InodeCensus census;
  std::vector<FoundDirectory> directories;
  std::unordered_map<std::uint64_t, AttributeBlock> attribute_blocks;
  bool large_files = false;        // some that need the feature large_file
  bool large_directories = false;  // or large_dir
  filesystem::Verification found;
};

// One inode as it lies in the table.
struct ScannedInode {
  std::uint32_t number = 0;
  const std::byte* bytes = nullptr;  // of the size that the volume's inodes have
  ext2_inode_large body{};           // zero where they are shorter

  std::uint64_t size() const { return body.i_size | std::uint64_t{body.i_size_high} << 32; }
  bool is(std::uint32_t type) const { return (body.i_mode & LINUX_S_IFMT) == type; }
  bool has(std::uint32_t flag) const { return (body.i_flags & flag) != 0; }
};

// What the map of a file's blocks says.
struct FoundBlocks {
  std::uint64_t clusters = 0;      // its own ones, those of the map included
  std::uint64_t end = 0;           // behind the last file block
  std::int64_t last_written = -1;  // the last file block that is not unwritten
  std::vector<ExtentRecord> runs;  // of directories
};

// Each of these tells what is wrong and enters what it found.
void verify_inode(Verifying& verifying, const ScannedInode& inode);
void verify_kind(Verifying& verifying, const ScannedInode& inode);
FoundBlocks verify_map(Verifying& verifying, const ScannedInode& inode);
void verify_attributes_inside(Verifying& verifying, const ScannedInode& inode);
// How many clusters the inode has for it: 0 or 1.
std::uint64_t verify_attribute_block(Verifying& verifying, const ScannedInode& inode);
void verify_attribute_references(Verifying& verifying);
void verify_directory(Verifying& verifying, FoundDirectory& directory);
void verify_resize_inode(Verifying& verifying, const ScannedInode& inode);
void verify_links(Verifying& verifying);
void verify_group_space(Verifying& verifying, GroupNumber group);

// Whether i_block is a map of blocks.
bool has_map(const Verifying& verifying, const ScannedInode& inode);
// Whether the head of a node of an extent tree is one; `room` are the entries that fit.
bool is_extent_header(const ExtentHeader& header, std::size_t room);

}  // namespace holdfast::ext4
