#include "ext4/dir_block.h"

#include <algorithm>

#include "base/check.h"

namespace holdfast::ext4 {
namespace {

// The tail looks like a free record of a file type that does not exist; its last four bytes are the checksum.
constexpr RecordHeader kTail{0, kRecordBytesMin, 0, 0xde};

// The length alone: a search is as fast as it gets from record to record, and this is the shortest way.
std::uint32_t length_at(const std::byte* block, std::uint32_t at) {
  std::uint16_t bytes = 0;
  std::memcpy(&bytes, block + at + offsetof(RecordHeader, bytes), sizeof bytes);
  return bytes;
}

void put_header(std::byte* block, std::uint32_t at, const RecordHeader& header) {
  std::memcpy(block + at, &header, sizeof header);
}

void put(std::byte* block, std::uint32_t at, std::uint32_t bytes, const NewRecord& record) {
  put_header(
      block, at,
      {record.inode, static_cast<std::uint16_t>(bytes), static_cast<std::uint8_t>(record.name.size()), record.type});
  std::memcpy(block + at + sizeof(RecordHeader), record.name.data(), record.name.size());
}

// Recognises a name by its last eight bytes in one comparison: in a directory most names of one length begin alike.
class NameMatcher {
 public:
  explicit NameMatcher(std::string_view name) : name_(name) {
    const std::size_t last = std::min<std::size_t>(name.size(), 8);
    std::memcpy(reinterpret_cast<std::byte*>(&last_bytes_) + (8 - last), name.data() + (name.size() - last), last);
    mask_ = last == 8 ? ~std::uint64_t{0} : ~(~std::uint64_t{0} >> (8 * last));
  }
  // Precondition: the record's name is as long as this one. The eight bytes lie in the record, header included.
  bool matches(const std::byte* record) const {
    std::uint64_t word = 0;
    std::memcpy(&word, record + sizeof(RecordHeader) + name_.size() - 8, 8);
    if ((word & mask_) != last_bytes_) return false;
    return name_.size() <= 8 || std::memcmp(record + sizeof(RecordHeader), name_.data(), name_.size() - 8) == 0;
  }

 private:
  std::string_view name_;
  std::uint64_t last_bytes_ = 0;
  std::uint64_t mask_ = 0;
};

}  // namespace

const char* what_is_damaged(const RecordHeader& header, std::uint32_t at, const BlockShape& shape) {
  if (header.bytes < kRecordBytesMin) return "a record shorter than 12 bytes";
  if ((header.bytes & 3u) != 0) return "a record length that is no multiple of 4";
  if (header.bytes > shape.end - at) return "a record that passes the end of its block";
  if (record_bytes(header.name_bytes) > header.bytes) return "a name longer than its record";
  if (header.inode > shape.inodes) return "an inode number out of range";
  if (header.inode != 0 && header.name_bytes == 0) return "an empty name";
  if (!shape.has_types && header.type != 0) return "a name longer than 255 bytes";
  return nullptr;
}

const char* tail_damage(const std::byte* block, const BlockShape& shape) {
  if (!shape.has_tail) return nullptr;
  return std::memcmp(block + shape.end, &kTail, sizeof kTail) == 0 ? nullptr : "no room for the checksum";
}

Search search(const std::byte* block, const BlockShape& shape, std::string_view name, std::uint32_t need) {
  const auto damaged = [](const char* what, std::uint32_t at) {
    return Search{what, at, kNoRecord, kNoRecord, kNoRecord};
  };
  if (const char* damage = tail_damage(block, shape)) return damaged(damage, shape.end);
  const NameMatcher matcher(name);
  std::uint32_t before = kNoRecord;
  std::uint32_t with_room = kNoRecord;
  for (std::uint32_t at = 0; at < shape.end;) {
    if (shape.end - at < kRecordBytesMin) return damaged("bytes behind the last record", at);
    const RecordHeader header = header_at(block, at);
    if (const char* damage = record_damage(header, at, shape)) return damaged(damage, at);
    std::uint32_t room = header.bytes;
    if (header.inode != 0) {
      if (header.name_bytes == name.size() && matcher.matches(block + at)) return {nullptr, 0, at, before, with_room};
      room -= record_bytes(header.name_bytes);
    }
    if (room >= need && with_room == kNoRecord) with_room = at;
    before = at;
    at += length_at(block, at);
  }
  return {nullptr, 0, kNoRecord, kNoRecord, with_room};
}

void make_empty(std::byte* block, const BlockShape& shape) { BlockWriter(block, shape).finish(); }

void insert(std::byte* block, std::uint32_t room, const NewRecord& record) {
  RecordHeader old = header_at(block, room);
  if (old.inode == 0) {
    put(block, room, old.bytes, record);
    return;
  }
  const std::uint32_t kept = record_bytes(old.name_bytes);
  put(block, room + kept, old.bytes - kept, record);
  old.bytes = static_cast<std::uint16_t>(kept);
  put_header(block, room, old);
}

void erase(std::byte* block, std::uint32_t found, std::uint32_t before) {
  RecordHeader gone = header_at(block, found);
  if (before == kNoRecord) {
    std::memset(block + found, 0, record_bytes(gone.name_bytes));
    put_header(block, found, {0, gone.bytes, 0, 0});
    return;
  }
  RecordHeader longer = header_at(block, before);
  longer.bytes = static_cast<std::uint16_t>(longer.bytes + gone.bytes);
  std::memset(block + found, 0, record_bytes(gone.name_bytes));
  put_header(block, before, longer);
}

void BlockWriter::add(const NewRecord& record) {
  const std::uint32_t bytes = record_bytes(record.name.size());
  HF_CHECK(shape_.end - next_ >= bytes, "a record of {} bytes does not fit at {}", bytes, next_);
  // The bytes that only align the next record.
  std::memset(block_ + next_ + bytes - 4, 0, 4);
  put(block_, next_, bytes, record);
  last_ = next_;
  next_ += bytes;
}

void BlockWriter::finish() {
  std::memset(block_ + next_, 0, 4096 - next_);
  if (last_ == kNoRecord) {
    put_header(block_, 0, {0, static_cast<std::uint16_t>(shape_.end), 0, 0});
  } else {
    RecordHeader last = header_at(block_, last_);
    last.bytes = static_cast<std::uint16_t>(shape_.end - last_);
    put_header(block_, last_, last);
  }
  if (shape_.has_tail) put_header(block_, shape_.end, kTail);
}

}  // namespace holdfast::ext4
