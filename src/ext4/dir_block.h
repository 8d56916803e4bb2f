// A block of directory records, as bytes: searched, changed and checked without knowing of volumes.
//
// Records follow each other from the start of the block to its end (or to the tail that holds the checksum). A record
// of inode 0 is free; a live one may be longer than its name needs, and what is left over is room. Taking a name out
// gives its bytes to the record before it, so nothing that stays ever moves, except in `rewrite`.
//
// Nothing here trusts the bytes: every record is checked when it is passed, and a walk ends at the first damage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace holdfast::ext4 {

struct RecordHeader {
  std::uint32_t inode;  // 0: free
  std::uint16_t bytes;  // of the whole record, a multiple of 4
  std::uint8_t name_bytes;
  std::uint8_t type;  // EXT2_FT_*; 0 without the filetype feature
};
static_assert(sizeof(RecordHeader) == 8);

inline constexpr std::uint32_t kRecordBytesMin = 12;  // header and a name of one byte
inline constexpr std::uint32_t kNameBytesMax = 255;
inline constexpr std::uint32_t kRecordsMax = 4096 / kRecordBytesMin;
inline constexpr std::uint32_t kNoRecord = ~std::uint32_t{0};

// What a record of the name takes at least.
constexpr std::uint32_t record_bytes(std::size_t name_bytes) {
  return static_cast<std::uint32_t>((sizeof(RecordHeader) + name_bytes + 3) & ~std::size_t{3});
}

// What the blocks of a file system's directories have in common.
struct BlockShape {
  std::uint32_t end = 4096;  // where the records end
  std::uint32_t inodes = 0;  // number of the last inode
  bool has_tail = false;     // a record of 12 bytes behind `end` holds the checksum
  bool has_types = false;    // filetype feature

  static BlockShape make(std::uint32_t inodes, bool checksums, bool types) {
    return {checksums ? 4096 - kRecordBytesMin : 4096, inodes, checksums, types};
  }
};

struct Record {
  std::uint32_t at = 0;  // offset in the block
  RecordHeader header{};
  std::string_view name;  // in the block
};

// A name to be written.
struct NewRecord {
  std::string_view name;
  std::uint32_t inode = 0;
  std::uint8_t type = 0;
};

// Answer of search(): offsets of records, kNoRecord when there is none.
struct Search {
  const char* damage = nullptr;  // what is wrong with the record at `damaged_at`; nothing else counts then
  std::uint32_t damaged_at = 0;
  std::uint32_t found = kNoRecord;
  std::uint32_t before = kNoRecord;  // the record in front of the one found
  std::uint32_t room = kNoRecord;    // the first record that has `need` bytes to spare (looked for up to the name)
};

inline RecordHeader header_at(const std::byte* block, std::uint32_t at) {
  RecordHeader header;
  std::memcpy(&header, block + at, sizeof header);
  return header;
}

// What is wrong with a record that may not stand at `at` in a block of the shape; null when it may.
const char* what_is_damaged(const RecordHeader& header, std::uint32_t at, const BlockShape& shape);

// The same. A search asks it of every record it passes: all in one branch, and the words only where there are any.
inline const char* record_damage(const RecordHeader& header, std::uint32_t at, const BlockShape& shape) {
  const unsigned length = header.bytes;
  const bool bad_length = (length < kRecordBytesMin) | ((length & 3U) != 0) | (length > shape.end - at);
  const bool bad_name = (record_bytes(header.name_bytes) > length) | ((header.inode != 0) & (header.name_bytes == 0));
  const bool bad_target = (header.inode > shape.inodes) | (!shape.has_types & (header.type != 0));
  if (bad_length | bad_name | bad_target) [[unlikely]] {
    return what_is_damaged(header, at, shape);
  }
  return nullptr;
}
// Null when what lies behind the records is as the shape says.
const char* tail_damage(const std::byte* block, const BlockShape& shape);

// Looks for the name, and on the way for `need` bytes of room.
Search search(const std::byte* block, const BlockShape& shape, std::string_view name,
              std::uint32_t need = ~std::uint32_t{0});

// Calls visit(const Record&) -> bool for every live record until it says false. Null, or what is wrong and where.
template <typename Visit>
const char* for_each_record(const std::byte* block, const BlockShape& shape, std::uint32_t& damaged_at, Visit visit) {
  damaged_at = shape.end;
  if (const char* damage = tail_damage(block, shape)) return damage;
  for (std::uint32_t at = 0; at < shape.end;) {
    damaged_at = at;
    if (shape.end - at < kRecordBytesMin) return "bytes behind the last record";
    const RecordHeader header = header_at(block, at);
    if (const char* damage = record_damage(header, at, shape)) return damage;
    if (header.inode != 0) {
      const auto* text = reinterpret_cast<const char*>(block + at + sizeof header);
      if (!visit(Record{at, header, {text, header.name_bytes}})) break;
    }
    at += header.bytes;
  }
  return nullptr;
}

// One free record and the tail.
void make_empty(std::byte* block, const BlockShape& shape);
// Precondition: `room` is the answer of a search with the need of this name.
void insert(std::byte* block, std::uint32_t room, const NewRecord& record);
// Precondition: `found` and `before` are the answer of a search.
void erase(std::byte* block, std::uint32_t found, std::uint32_t before);

// Fills a block with records one behind the other; the last one gets what is left. `finish` makes the block valid.
class BlockWriter {
 public:
  BlockWriter(std::byte* block, const BlockShape& shape) : block_(block), shape_(shape) {}
  bool fits(std::size_t name_bytes) const { return shape_.end - next_ >= record_bytes(name_bytes); }
  // Precondition: fits.
  void add(const NewRecord& record);
  void finish();

 private:
  std::byte* block_;
  BlockShape shape_;
  std::uint32_t last_ = kNoRecord;
  std::uint32_t next_ = 0;
};

}  // namespace holdfast::ext4
