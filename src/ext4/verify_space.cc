// Bitmaps and counts of a group, against what was found to be in use.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ext4/bitmap.h"
#include "ext4/verify_state.h"

namespace holdfast::ext4 {
namespace {

using Bits = std::array<std::byte, kBlockBytes>;

// Bits past the group's own are set, so that nobody takes them.
bool is_padded(const std::byte* bits, std::uint32_t from) {
  const BitView view(bits);
  return view.next_free(from, kBitmapBits) == kBitmapBits;
}

class GroupSpaceVerifier {
 public:
  GroupSpaceVerifier(Verifying& verifying, GroupNumber group)
      : verifying_(verifying), geometry_(verifying.geometry()), groups_(verifying.volume.groups()), group_(group) {}

  void run() {
    check_blocks();
    check_inodes();
  }

 private:
  void problem(const std::string& what) { verifying_.problem(fmt::format("group {}: {}", group_, what)); }

  // Empty: it cannot be read, which is told.
  bool read(std::uint64_t block, Bits& bits) {
    const Result<BlockRef> ref = verifying_.volume.cache().read(block, BlockKind::plain);
    if (ref) {
      std::memcpy(bits.data(), ref->data(), bits.size());
    } else {
      verifying_.problem(ref.error());
    }
    return ref.has_value();
  }

  // The first place where the two differ, in words; empty: nowhere.
  static std::string difference(const Bits& marked, const Bits& used, std::uint32_t count, std::uint64_t first,
                                const char* what) {
    std::uint32_t differing = 0;
    std::uint32_t place = count;
    const BitView marked_view(marked.data());
    const BitView used_view(used.data());
    for (std::uint32_t bit = 0; bit < count; ++bit) {
      if (bit % 8 == 0 && marked[bit / 8] == used[bit / 8]) {
        bit += 7;
        continue;
      }
      if (marked_view.taken(bit) == used_view.taken(bit)) continue;
      if (differing++ == 0) place = bit;
    }
    if (differing == 0) return {};
    return fmt::format("{} {} is marked {}, and is not{}", what, first + place,
                       marked_view.taken(place) ? "as used" : "as free",
                       differing == 1 ? "" : fmt::format("; {} more like it", differing - 1));
  }

  void check_blocks() {
    const std::uint32_t clusters = geometry_.group_clusters(group_);
    Bits marked;
    const bool unwritten = (groups_.flags(group_) & EXT2_BG_BLOCK_UNINIT) != 0;
    if (unwritten) {
      groups_.make_block_bitmap(group_, marked.data());
      if (group_ + 1 == geometry_.groups) problem("the last one has no block bitmap");
    } else {
      if (!read(groups_.block_bitmap(group_), marked)) return;
      if (!groups_.bitmap_covers_metadata(group_, marked.data())) {
        return problem("its block bitmap calls metadata free");
      }
      if (!groups_.block_bitmap_verifies(group_, marked.data())) problem("its block bitmap has a wrong checksum");
      if (!is_padded(marked.data(), clusters)) problem("its block bitmap is not padded");
    }
    Bits used{};
    if (const std::byte* const owned = verifying_.clusters.of(group_)) std::memcpy(used.data(), owned, used.size());
    const std::string wrong = difference(marked, used, clusters, geometry_.first_cluster(group_),
                                         geometry_.cluster_shift == 0 ? "block" : "cluster");
    if (!wrong.empty()) problem(wrong);
    check_free("clusters", groups_.free_clusters(group_), BitView(marked.data()).count_free(0, clusters));
  }

  void check_inodes() {
    const std::uint32_t inodes = geometry_.inodes_per_group;
    const CensusEntry* const entries = verifying_.census.of(group_);
    Bits used{};
    for (std::uint32_t index = 0; entries != nullptr && index < inodes; ++index) {
      if (entries[index].used) set_bits(used.data(), index, 1);
    }
    Bits marked{};
    if ((groups_.flags(group_) & EXT2_BG_INODE_UNINIT) == 0) {
      if (!read(groups_.inode_bitmap(group_), marked)) return;
      if (!groups_.inode_bitmap_verifies(group_, marked.data())) problem("its inode bitmap has a wrong checksum");
      if (!is_padded(marked.data(), inodes)) problem("its inode bitmap is not padded");
    }
    const std::string wrong = difference(marked, used, inodes, std::uint64_t{group_} * inodes + 1, "inode");
    if (!wrong.empty()) problem(wrong);
    const BitView view(marked.data());
    check_free("inodes", groups_.free_inodes(group_), view.count_free(0, inodes));
    std::uint32_t directories = 0;
    for (std::uint32_t index = 0; entries != nullptr && index < inodes; ++index) {
      directories += static_cast<std::uint32_t>(entries[index].directory && view.taken(index));
    }
    if (directories != groups_.used_directories(group_)) {
      problem(fmt::format("it counts {} directories, and has {}", groups_.used_directories(group_), directories));
    }
  }

  void check_free(const char* what, std::uint32_t counted, std::uint32_t free) {
    if (counted != free) problem(fmt::format("it counts {} free {}, and its bitmap has {}", counted, what, free));
  }

  Verifying& verifying_;
  const Geometry& geometry_;
  const GroupTable& groups_;
  const GroupNumber group_;
};

}  // namespace

void verify_group_space(Verifying& verifying, GroupNumber group) { GroupSpaceVerifier(verifying, group).run(); }

}  // namespace holdfast::ext4
