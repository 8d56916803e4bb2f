// Adding a name: into room that is there, else by moving records together, else by growing the directory.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/trace.h"
#include "ext4/directory.h"
#include "ext4/directory_search.h"
#include "ext4/hash_tree_node.h"

namespace holdfast::ext4 {
namespace {

Error exists(InodeNumber directory, std::string_view name) {
  return Error(EEXIST, fmt::format("directory inode {}, name {}", raw(directory), name), "");
}

// A copy of a block and where its live records are, so that the block can be written anew from it.
class Gathered {
 public:
  // With `skip_dots` without `.` and `..`. EUCLEAN.
  static Result<std::uint32_t> from(const DirectoryFile& directory, const BlockRef& ref, std::uint32_t block,
                                    bool skip_dots, Gathered& result) {
    std::memcpy(result.bytes_.data(), ref.data(), kBlockBytes);
    std::uint32_t at = 0;
    const char* const damage = for_each_record(result.bytes_.data(), directory.shape(), at, [&](const Record& record) {
      if (skip_dots && is_dot(record.name)) return true;
      result.keys_[result.count_++] = record.at;
      result.live_ += record_bytes(record.name.size());
      return true;
    });
    if (damage != nullptr) return directory.damaged_at(block, at, damage);
    return result.live_;
  }

  std::uint32_t live_bytes() const { return live_; }
  std::uint32_t count() const { return count_; }

  // Puts the records in the order of their hashes. EUCLEAN: one does not belong into this leaf.
  Status sort(const DirectoryFile& directory, const HashTree& tree) {
    for (std::uint32_t i = 0; i < count_; ++i) {
      const auto at = static_cast<std::uint32_t>(keys_[i]);
      const std::uint32_t major = tree.function()(name_at(at)).major;
      if (!tree.covers(major)) {
        return directory.damaged_at(tree.leaf(), at, fmt::format("a name with hash {:#x} in the wrong leaf", major));
      }
      keys_[i] = std::uint64_t{major} << 32 | at;
    }
    std::sort(keys_.begin(), keys_.begin() + count_);
    return {};
  }

  // Precondition: sorted. How many records the lower half has, by bytes.
  std::uint32_t middle() const {
    std::uint32_t bytes = 0;
    std::uint32_t lower = 0;
    while (bytes < live_ / 2) bytes += record_bytes(name_at(offset(lower++)).size());
    return lower;
  }
  std::uint32_t major(std::uint32_t index) const { return static_cast<std::uint32_t>(keys_[index] >> 32); }

  void write(BlockWriter& writer, std::uint32_t first, std::uint32_t end) const {
    for (std::uint32_t i = first; i < end; ++i) {
      const RecordHeader header = header_at(bytes_.data(), offset(i));
      writer.add({name_at(offset(i)), header.inode, header.type});
    }
  }

 private:
  std::uint32_t offset(std::uint32_t index) const { return static_cast<std::uint32_t>(keys_[index]); }
  std::string_view name_at(std::uint32_t at) const {
    return {reinterpret_cast<const char*>(bytes_.data() + at + sizeof(RecordHeader)),
            header_at(bytes_.data(), at).name_bytes};
  }

  alignas(8) std::array<std::byte, kBlockBytes> bytes_;
  std::array<std::uint64_t, kRecordsMax> keys_;  // hash above offset, once sorted; offsets before
  std::uint32_t count_ = 0;
  std::uint32_t live_ = 0;
};

// Adds one name to one directory.
class Addition {
 public:
  Addition(DirectoryFile& directory, const NewRecord& record)
      : directory_(directory), record_(record), need_(record_bytes(record.name.size())) {}

  Status run() {
    HF_TRY(directory_.indexed() ? add_indexed() : add_linear());
    directory_.changed();
    return {};
  }

 private:
  Status add_linear();
  Status append_linear();
  Status add_indexed();
  Status check_continuations(HashTree& tree, std::uint32_t major) const;
  Status split_leaf(HashTree& tree, std::uint32_t major, BlockRef leaf);
  Status compact_single(BlockRef ref, const Gathered& names, InodeNumber parent);
  Status make_indexed(BlockRef ref, const Gathered& names, InodeNumber parent);
  Status grow_single(BlockRef ref);

  void put(BlockRef& ref, std::uint32_t room) { insert(directory_.cache().modify(ref), room, record_); }

  DirectoryFile& directory_;
  const NewRecord& record_;
  const std::uint32_t need_;
};

Status Addition::add_linear() {
  std::uint32_t room = kNoRecord;
  BlockRef with_room;
  for (std::uint32_t block = 0; block < directory_.blocks(); ++block) {
    HF_ASSIGN(BlockRef ref, directory_.read(block, BlockKind::directory));
    HF_ASSIGN(const Search result, search_block(directory_, ref, block, record_.name, need_));
    if (result.found != kNoRecord) return exists(directory_.inode(), record_.name);
    if (room == kNoRecord && (result.room != kNoRecord || directory_.blocks() == 1)) {
      room = result.room;
      with_room = std::move(ref);
    }
  }
  if (room != kNoRecord) {
    put(with_room, room);
    return {};
  }
  return directory_.hash_ordered() ? grow_single(std::move(with_room)) : append_linear();
}

Status Addition::append_linear() {
  HF_TRY(directory_.reserve(1));
  HF_ASSIGN(BlockRef ref, directory_.fresh(directory_.take_reserved(), BlockKind::directory));
  BlockWriter writer(directory_.cache().modify(ref), directory_.shape());
  writer.add(record_);
  writer.finish();
  return {};
}

// The only block has no room in one piece.
Status Addition::grow_single(BlockRef ref) {
  HF_ASSIGN(FoundRecord parent, find_dot(directory_, ".."));
  Gathered names;
  HF_ASSIGN(const std::uint32_t live, Gathered::from(directory_, ref, 0, true, names));
  const InodeNumber parent_inode{parent.header().inode};
  parent.leaf.reset();
  if (live + 2 * kRecordBytesMin + need_ <= directory_.shape().end) {
    return compact_single(std::move(ref), names, parent_inode);
  }
  return make_indexed(std::move(ref), names, parent_inode);
}

Status Addition::compact_single(BlockRef ref, const Gathered& names, InodeNumber parent) {
  const std::uint8_t type = type_byte(directory_, FileType::directory);
  BlockWriter writer(directory_.cache().modify(ref), directory_.shape());
  writer.add({".", raw(directory_.inode()), type});
  writer.add({"..", raw(parent), type});
  names.write(writer, 0, names.count());
  writer.add(record_);
  writer.finish();
  return {};
}

Status Addition::make_indexed(BlockRef ref, const Gathered& names, InodeNumber parent) {
  HF_TRACE1(directory_make_indexed, raw(directory_.inode()));
  const bool fits = names.live_bytes() + need_ <= directory_.shape().end;
  HF_TRY(directory_.reserve(fits ? 1 : 2));
  const std::uint32_t number = directory_.take_reserved();
  HF_ASSIGN(BlockRef leaf, directory_.fresh(number, BlockKind::directory));
  BlockWriter writer(directory_.cache().modify(leaf), directory_.shape());
  names.write(writer, 0, names.count());
  if (fits) writer.add(record_);
  writer.finish();
  ref.reset();
  HF_TRY(HashTree::make_root(directory_, parent, number));
  if (fits) return {};
  HF_ASSIGN(HashTree tree, HashTree::open(directory_));
  const std::uint32_t major = tree.function()(record_.name).major;
  HF_TRY(tree.descend(major));
  return split_leaf(tree, major, std::move(leaf));
}

Status Addition::add_indexed() {
  if (is_dot(record_.name)) return exists(directory_.inode(), record_.name);
  HF_ASSIGN(HashTree tree, HashTree::open(directory_));
  const std::uint32_t major = tree.function()(record_.name).major;
  HF_TRY(tree.descend(major));
  HF_ASSIGN(BlockRef leaf, directory_.read(tree.leaf(), BlockKind::directory));
  HF_ASSIGN(const Search result, search_block(directory_, leaf, tree.leaf(), record_.name, need_));
  if (result.found != kNoRecord) return exists(directory_.inode(), record_.name);
  if (tree.continues(major)) {
    HF_TRY(check_continuations(tree, major));
    HF_TRY(tree.descend(major));
  }
  if (result.room != kNoRecord) {
    put(leaf, result.room);
    return {};
  }
  return split_leaf(tree, major, std::move(leaf));
}

// EEXIST when the name is in one of the leaves that go on with its hash.
Status Addition::check_continuations(HashTree& tree, std::uint32_t major) const {
  while (tree.continues(major)) {
    HF_ASSIGN(const bool more, tree.next());
    if (!more) break;
    HF_ASSIGN(const BlockRef leaf, directory_.read(tree.leaf(), BlockKind::directory));
    HF_ASSIGN(const Search result, search_block(directory_, leaf, tree.leaf(), record_.name));
    if (result.found != kNoRecord) return exists(directory_.inode(), record_.name);
  }
  return {};
}

// The leaf has no room in one piece. Writes its records anew and the name with them, into two leaves if it must.
Status Addition::split_leaf(HashTree& tree, std::uint32_t major, BlockRef leaf) {
  Gathered names;
  HF_ASSIGN(const std::uint32_t live, Gathered::from(directory_, leaf, tree.leaf(), false, names));
  if (live + need_ <= directory_.shape().end) {
    BlockWriter writer(directory_.cache().modify(leaf), directory_.shape());
    names.write(writer, 0, names.count());
    writer.add(record_);
    writer.finish();
    return {};
  }
  HF_TRY(names.sort(directory_, tree));
  const std::uint32_t lower = names.middle();
  HF_CHECK(lower != 0 && lower < names.count(), "{} of {} names below the middle", lower, names.count());
  const std::uint32_t first = names.major(lower);
  const bool amid_hash = names.major(lower - 1) == first;

  HF_ASSIGN(const std::uint32_t nodes, tree.nodes_to_add_leaf());
  HF_TRY(directory_.reserve(nodes + 1));
  HF_TRACE1(directory_split_leaf, raw(directory_.inode()));
  const std::uint32_t number = directory_.take_reserved();
  HF_ASSIGN(BlockRef right, directory_.fresh(number, BlockKind::directory));
  HF_TRY(tree.add_leaf(first | (amid_hash ? 1u : 0u), number));

  BlockWriter left_writer(directory_.cache().modify(leaf), directory_.shape());
  names.write(left_writer, 0, lower);
  BlockWriter right_writer(directory_.cache().modify(right), directory_.shape());
  names.write(right_writer, lower, names.count());
  (major >= first ? right_writer : left_writer).add(record_);
  left_writer.finish();
  right_writer.finish();
  return {};
}

}  // namespace

Status add_name(Volume& volume, InodeNumber directory, const Name& name) {
  HF_TRY(check_name(directory, name.name));
  HF_ASSIGN(DirectoryFile file, DirectoryFile::open(volume, directory));
  if (name.inode == filesystem::kNoInode || raw(name.inode) > file.shape().inodes) {
    return Error(EINVAL, fmt::format("directory inode {}, name {}", raw(directory), name.name),
                 fmt::format("inode {} does not exist", raw(name.inode)));
  }
  const NewRecord record{name.name, raw(name.inode), type_byte(file, name.type)};
  return Addition(file, record).run();
}

}  // namespace holdfast::ext4
