// The words of ext4's journal (JBD2) as they lie on the medium. All numbers are big-endian, unlike the rest of ext4.
//
// The log is a ring of blocks of an inode of its own. Block 0 of it is the journal's superblock; the others hold
// transactions, each a row of blocks with one sequence number: revoke blocks (these home blocks are not to be replayed
// from here or from earlier), descriptor blocks with the copies that their tags name, and one commit block, which makes
// it whole.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace holdfast::ext4 {

inline constexpr std::uint32_t kJournalMagic = 0xc03b3998;

// Kept as bytes: the words of tags lie at odd places.
template <typename T>
class BigEndian {
 public:
  BigEndian() = default;
  explicit BigEndian(T value) { *this = value; }
  BigEndian& operator=(T value) {
    value = swapped(value);
    std::memcpy(bytes_.data(), &value, sizeof(T));
    return *this;
  }
  T value() const {
    T value;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    return swapped(value);
  }

 private:
  static T swapped(T value) {
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
  }
  std::array<std::byte, sizeof(T)> bytes_{};
};
using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;
using Be64 = BigEndian<std::uint64_t>;

enum class LogBlockType : std::uint32_t {
  descriptor = 1,
  commit = 2,
  superblock_v1 = 3,
  superblock_v2 = 4,
  revoke = 5
};

struct LogHeader {
  Be32 magic;
  Be32 type;
  Be32 sequence;
};
static_assert(sizeof(LogHeader) == 12);

// Features.
inline constexpr std::uint32_t kJournalChecksumV1 = 0x1;  // compatible: CRC-32 of a whole transaction
inline constexpr std::uint32_t kJournalRevoke = 0x1;      // the others are incompatible
inline constexpr std::uint32_t kJournal64Bit = 0x2;
inline constexpr std::uint32_t kJournalAsyncCommit = 0x4;
inline constexpr std::uint32_t kJournalChecksumV2 = 0x8;
inline constexpr std::uint32_t kJournalChecksumV3 = 0x10;
inline constexpr std::uint32_t kJournalFastCommit = 0x20;

inline constexpr std::uint8_t kJournalCrc32 = 1;
inline constexpr std::uint8_t kJournalCrc32Bytes = 4;
inline constexpr std::uint8_t kJournalCrc32c = 4;

struct JournalSuperWords {
  LogHeader header;
  Be32 block_bytes;
  Be32 blocks;    // of the whole journal, this one included
  Be32 first;     // first block of the ring
  Be32 sequence;  // that of the transaction at `start`
  Be32 start;     // 0: the log is empty
  Be32 error;
  Be32 compatible;
  Be32 incompatible;
  Be32 read_only_compatible;
  std::array<std::uint8_t, 16> uuid;
  Be32 users;
  Be32 copy_of_super;
  Be32 transaction_max;
  Be32 data_max;
  std::uint8_t checksum_type;
  std::array<std::uint8_t, 3> padding;
  Be32 fast_commit_blocks;
  Be32 head;
  std::array<Be32, 40> unused;
  Be32 checksum;
  std::array<std::uint8_t, 16 * 48> user_ids;
};
static_assert(sizeof(JournalSuperWords) == 1024);
static_assert(offsetof(JournalSuperWords, sequence) == 24 && offsetof(JournalSuperWords, start) == 28);
static_assert(offsetof(JournalSuperWords, checksum) == 252);

// A tag says where the next copy in the log is at home. Version 3 has a layout of its own; in the other, the high half
// of the number exists with 64 bits only, and the checksum of version 2 makes a tag two bytes longer than its words.
struct TagV3 {
  Be32 block;
  Be32 flags;
  Be32 block_high;
  Be32 checksum;
};
static_assert(sizeof(TagV3) == 16);

struct TagV2 {
  Be32 block;
  Be16 checksum;
  Be16 flags;
  Be32 block_high;
};
static_assert(sizeof(TagV2) == 12);

inline constexpr std::uint32_t kTagEscaped = 1;   // the copy's first word was the magic, and is zero in the log
inline constexpr std::uint32_t kTagSameUuid = 2;  // otherwise 16 bytes of a UUID follow
inline constexpr std::uint32_t kTagLast = 8;
inline constexpr std::size_t kTagUuidBytes = 16;

struct RevokeHeader {
  LogHeader header;
  Be32 bytes;  // used, this header included
};
static_assert(sizeof(RevokeHeader) == 16);

// All of it lies in one cache line, and in one sector.
struct CommitWords {
  LogHeader header;
  std::uint8_t checksum_type;
  std::uint8_t checksum_bytes;
  std::array<std::uint8_t, 2> padding;
  std::array<Be32, 8> checksum;
  Be32 seconds_high;
  Be32 seconds_low;
  Be32 nanoseconds;
};
static_assert(sizeof(CommitWords) == 60);
static_assert(offsetof(CommitWords, seconds_high) == 48);

// Sequence numbers wrap: whether a comes after b.
inline bool sequence_after(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) > 0; }

}  // namespace holdfast::ext4
