// Names against inodes: each directory stands in one place, its `..` says which, and one gets from there to the root;
// every inode has a name, and as many as it counts.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "ext4/verify_state.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kLinksMax = 65000;
// A directory with more subdirectories than its count can say has this count.
constexpr std::uint32_t kLinksUncounted = 1;

// Follows parents up from each directory, to one that is known to be connected; each is passed once.
class Connections {
 public:
  explicit Connections(Verifying& verifying)
      : verifying_(verifying), marks_(verifying.directories.size(), Mark::unseen) {}

  void run() {
    for (std::size_t i = 0; i < marks_.size(); ++i) {
      follow(i);
      const FoundDirectory& directory = verifying_.directories[i];
      if (directory.dot_dot == directory.parent) continue;
      verifying_.problem(directory.inode,
                         fmt::format("its `..` is inode {}, and it stands in {}", directory.dot_dot, directory.parent));
    }
  }

 private:
  enum class Mark : std::uint8_t { unseen, passing, done };

  void follow(std::size_t from) {
    std::vector<std::size_t> way;
    for (std::size_t at = from; marks_[at] != Mark::done;) {
      const FoundDirectory& directory = verifying_.directories[at];
      if (marks_[at] == Mark::passing) {
        verifying_.problem(directory.inode, "a directory below itself");
        break;
      }
      marks_[at] = Mark::passing;
      way.push_back(at);
      if (directory.inode == EXT2_ROOT_INO) break;
      const FoundDirectory* const parent = directory.parent == 0 ? nullptr : verifying_.directory(directory.parent);
      if (parent == nullptr) {
        verifying_.problem(directory.inode, "a directory that no name leads to");
        break;
      }
      at = static_cast<std::size_t>(parent - verifying_.directories.data());
    }
    for (const std::size_t passed : way) marks_[passed] = Mark::done;
  }

  Verifying& verifying_;
  std::vector<Mark> marks_;
};

void verify_count(Verifying& verifying, std::uint32_t number, const CensusEntry& entry) {
  if (entry.names == 0) return verifying.problem(number, "in use, and no name leads to it");
  std::uint32_t names = entry.names;
  if (entry.directory && names > kLinksMax) {
    if (!verifying.read_only_compatible(EXT4_FEATURE_RO_COMPAT_DIR_NLINK)) {
      verifying.problem(number, "more subdirectories than the file system allows");
    }
    names = kLinksUncounted;
  }
  if (names == std::min<std::uint32_t>(entry.links, CensusEntry::kNamesMax)) return;
  if (entry.directory && names > 1 && entry.indexed && entry.links == kLinksUncounted) return;
  verifying.problem(number, fmt::format("it counts {} links, and {} names lead to it", entry.links, names));
}

}  // namespace

void verify_links(Verifying& verifying) {
  Connections(verifying).run();
  const Geometry& geometry = verifying.geometry();
  for (GroupNumber group = 0; group < geometry.groups; ++group) {
    const CensusEntry* const entries = verifying.census.of(group);
    if (entries == nullptr) continue;
    for (std::uint32_t index = 0; index < geometry.inodes_per_group; ++index) {
      const std::uint32_t number = group * geometry.inodes_per_group + index + 1;
      if (entries[index].used && verifying.may_have_names(number)) verify_count(verifying, number, entries[index]);
    }
  }
}

}  // namespace holdfast::ext4
