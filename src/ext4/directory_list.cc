// Listing a directory with cursors that survive changes.
//
// Directories that are or may become indexed are listed in the order of the names' hashes, so a cursor means the same
// before and after a leaf is split, records move together, or the directory gets its index. Others never move a record
// and are listed in the order in which the names lie.
//
// Cursor in hash order: 0 `.`, 1 `..`, else 2 + (31 bits of the major hash, 26 bits of the minor one, 6 bits of rank).
// The rank counts names that agree in both (two among a million: once in 280,000 directories), by their bytes.
// Cursor in order of place: block and offset.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "ext4/directory.h"
#include "ext4/directory_search.h"

namespace holdfast::ext4 {
namespace {

using filesystem::kDirectoryEnd;
using NameVisitor = filesystem::Format::NameVisitor;

constexpr std::uint64_t kFirstHashCursor = 2;
constexpr std::uint64_t kEndHashCursor = kFirstHashCursor + (std::uint64_t{1} << 63);
constexpr unsigned kRankBits = 6;
constexpr std::uint64_t kRankMax = (1u << kRankBits) - 1;

std::uint64_t cursor_of(NameHash hash) {
  return kFirstHashCursor + ((std::uint64_t{hash.major >> 1} << 32) | (hash.minor & ~kRankMax));
}
std::uint32_t major_of(std::uint64_t cursor) {
  return static_cast<std::uint32_t>((cursor - kFirstHashCursor) >> 32) << 1;
}

constexpr const char* kUnfitName = "a name with a slash or a zero byte";

bool fit_name(std::string_view name) {
  return std::memchr(name.data(), '/', name.size()) == nullptr && std::memchr(name.data(), 0, name.size()) == nullptr;
}

// Reads the names from a cursor on, up to where the cursors of the next leaf begin.
class ListingReader {
 public:
  ListingReader(DirectoryFile& directory, Listing& listing) : directory_(directory), listing_(listing) {}

  Status read(std::uint64_t cursor) {
    listing_.version = 0;
    listing_.entries.clear();
    listing_.text.clear();
    HF_TRY(directory_.indexed() ? read_leaves(major_of(cursor)) : read_single());
    sort();
    listing_.version = directory_.state().version;
    return {};
  }

 private:
  Status read_single() {
    listing_.first = kFirstHashCursor;
    listing_.end = kDirectoryEnd;
    return add_block(0, directory_.hash_function(directory_.default_hash_version()), nullptr);
  }

  Status read_leaves(std::uint32_t major) {
    HF_ASSIGN(HashTree tree, HashTree::open(directory_));
    HF_TRY(tree.descend(major));
    listing_.first = cursor_of({major, 0});
    HF_TRY(add_block(tree.leaf(), tree.function(), &tree));
    // Names of one hash are put in order together, in however many leaves they are.
    while ((tree.high() & 1) != 0) {
      HF_ASSIGN(const bool more, tree.next());
      if (!more) break;
      HF_TRY(add_block(tree.leaf(), tree.function(), &tree));
    }
    listing_.end = kDirectoryEnd;
    if (tree.high() < kKeyEnd) {
      const auto next = static_cast<std::uint32_t>(tree.high());
      HF_CHECK(next > major, "a walk from hash {:#x} came to {:#x}", major, next);  // a list goes on, whatever the keys
      listing_.end = cursor_of({next, 0});
    }
    return {};
  }

  Status add_block(std::uint32_t block, const HashFunction& function, const HashTree* tree) {
    HF_ASSIGN(const BlockRef ref, directory_.read(block, BlockKind::directory));
    // Names of one legacy hash would have no order among them: the minor hash of another function gives it.
    HashFunction order = function;
    order.version = HashVersion::half_md4;
    const char* wrong = nullptr;
    std::uint32_t at = 0;
    const char* damage = for_each_record(ref.data(), directory_.shape(), at, [&](const Record& record) {
      if (block == 0 && is_dot(record.name)) return true;
      NameHash hash = function(record.name);
      if (tree != nullptr && !tree->covers(hash.major)) wrong = "a name in the wrong leaf";
      if (!fit_name(record.name)) wrong = kUnfitName;
      if (function.version == HashVersion::legacy) hash.minor = order(record.name).minor;
      listing_.entries.push_back({cursor_of(hash), InodeNumber{record.header.inode},
                                  static_cast<std::uint32_t>(listing_.text.size()), record.header.name_bytes,
                                  record.header.type});
      listing_.text += record.name;
      return wrong == nullptr;
    });
    if (damage == nullptr) damage = wrong;
    if (damage != nullptr) return directory_.damaged_at(block, at, damage);
    return {};
  }

  std::string_view name_of(const Listing::Entry& entry) const {
    return std::string_view(listing_.text).substr(entry.text, entry.length);
  }

  void sort() {
    std::vector<Listing::Entry>& entries = listing_.entries;
    std::sort(entries.begin(), entries.end(), [this](const Listing::Entry& a, const Listing::Entry& b) {
      return a.cursor != b.cursor ? a.cursor < b.cursor : name_of(a) < name_of(b);
    });
    std::uint64_t rank = 0;
    for (std::size_t i = 1; i < entries.size(); ++i) {
      const bool same = entries[i].cursor == entries[i - 1].cursor - rank;
      // More than 64 of them nobody can make who does not damage directories: the last ones share a cursor.
      rank = same ? std::min(rank + 1, kRankMax) : 0;
      entries[i].cursor += rank;
    }
  }

  DirectoryFile& directory_;
  Listing& listing_;
};

// `.` or `..`; whether to go on.
Result<bool> visit_dot(DirectoryFile& directory, std::string_view dot, std::uint64_t next, const NameVisitor& visit) {
  HF_ASSIGN(const FoundRecord found, find_dot(directory, dot));
  return visit(Name{std::string(dot), InodeNumber{found.header().inode}, FileType::directory}, next);
}

Result<std::uint64_t> list_by_hash(DirectoryFile& directory, std::uint64_t cursor, const NameVisitor& visit) {
  for (; cursor < kFirstHashCursor; ++cursor) {
    HF_ASSIGN(const bool go_on, visit_dot(directory, cursor == 0 ? "." : "..", cursor + 1, visit));
    if (!go_on) return cursor + 1;
  }
  Listing& listing = directory.volume().directories().listing();
  Name name;
  while (cursor < kEndHashCursor) {
    if (listing.version != directory.state().version || cursor < listing.first || cursor >= listing.end) {
      HF_TRY(ListingReader(directory, listing).read(cursor));
    }
    auto entry = std::lower_bound(listing.entries.begin(), listing.entries.end(), cursor,
                                  [](const Listing::Entry& e, std::uint64_t wanted) { return e.cursor < wanted; });
    for (; entry != listing.entries.end(); ++entry) {
      name.name.assign(listing.text, entry->text, entry->length);
      name.inode = entry->inode;
      name.type = type_of(directory, raw(entry->inode), entry->type);
      if (!visit(name, entry->cursor + 1)) return entry->cursor + 1;
    }
    cursor = listing.end;
  }
  return kDirectoryEnd;
}

Result<std::uint64_t> list_by_place(DirectoryFile& directory, std::uint64_t cursor, const NameVisitor& visit) {
  Name name;
  for (std::uint64_t block = cursor / kBlockBytes; block < directory.blocks(); ++block) {
    const auto number = static_cast<std::uint32_t>(block);
    HF_ASSIGN(const BlockRef ref, directory.read(number, BlockKind::directory));
    std::uint64_t stopped = 0;
    bool fit = true;
    std::uint32_t at = 0;
    const char* const damage = for_each_record(ref.data(), directory.shape(), at, [&](const Record& record) {
      const std::uint64_t place = block * kBlockBytes + record.at;
      if (place < cursor) return true;
      fit = fit_name(record.name);
      if (!fit) return false;
      name.name.assign(record.name);
      name.inode = InodeNumber{record.header.inode};
      name.type = type_of(directory, record.header.inode, record.header.type);
      if (visit(name, place + 1)) return true;
      stopped = place + 1;
      return false;
    });
    if (damage != nullptr) return directory.damaged_at(number, at, damage);
    if (!fit) return directory.damaged_at(number, at, kUnfitName);
    if (stopped != 0) return stopped;
  }
  return kDirectoryEnd;
}

}  // namespace

Result<std::uint64_t> read_directory(Volume& volume, InodeNumber directory, std::uint64_t cursor,
                                     const NameVisitor& visit) {
  HF_ASSIGN(DirectoryFile file, DirectoryFile::open(volume, directory));
  return file.hash_ordered() ? list_by_hash(file, cursor, visit) : list_by_place(file, cursor, visit);
}

}  // namespace holdfast::ext4
