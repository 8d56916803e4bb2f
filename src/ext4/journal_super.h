// The journal's superblock: what the log's blocks look like, where the log begins, and whether it holds anything.
//
// Its words that change lie in one cache line, and where the log begins in eight bytes of it. So one whose checksum
// does not match because a write of it was cut short still says the truth of one of the two moments; torn() tells, and
// the replay makes sure (journal_scan.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "ext4/journal_area.h"
#include "ext4/journal_words.h"

namespace holdfast::ext4 {

enum class LogChecksum : std::uint8_t {
  none,
  v1,  // one CRC-32 over a transaction's descriptors and copies, in its commit block
  v2,  // CRC-32C: 16 bits in a tag, 32 in every other block
  v3,  // CRC-32C: 32 bits everywhere
};

// What the features say of the log's blocks.
struct LogShape {
  LogChecksum checksum = LogChecksum::none;
  bool wide = false;  // home blocks have 64-bit numbers
  std::uint32_t seed = 0;

  bool has_crc32c() const { return checksum == LogChecksum::v2 || checksum == LogChecksum::v3; }
  std::size_t tag_bytes() const {
    if (checksum == LogChecksum::v3) return sizeof(TagV3);
    return (wide ? sizeof(TagV2) : sizeof(TagV2) - 4) + (checksum == LogChecksum::v2 ? 2 : 0);
  }
  // Where the checksum of a descriptor or revoke block lies, which is where its contents must end.
  std::size_t end_of_contents() const { return kBlockBytes - (has_crc32c() ? sizeof(Be32) : 0); }
  std::size_t tags_per_block() const { return (end_of_contents() - sizeof(LogHeader) - kTagUuidBytes) / tag_bytes(); }
  std::size_t revoke_bytes() const { return wide ? 8 : 4; }
  std::size_t revokes_per_block() const { return (end_of_contents() - sizeof(RevokeHeader)) / revoke_bytes(); }
};

class JournalSuper {
 public:
  // ENOTSUP naming a feature, with the remedy. EUCLEAN: damaged, or the journal says that an error happened. EIO.
  static Result<JournalSuper> read(device::Device& device, const JournalArea& area);
  // Of a new journal of so many blocks; sequences begin behind `sequence`.
  static JournalSuper make(std::uint32_t blocks, std::uint32_t sequence, const std::uint8_t (&uuid)[16]);

  const LogShape& shape() const { return shape_; }
  std::uint32_t first() const { return words_.first.value(); }
  std::uint32_t end() const { return words_.blocks.value(); }  // of the ring
  std::uint32_t ring() const { return end() - first(); }
  std::uint32_t next(std::uint32_t index) const { return index + 1 == end() ? first() : index + 1; }
  std::uint32_t start() const { return words_.start.value(); }
  std::uint32_t sequence() const { return words_.sequence.value(); }
  const std::array<std::uint8_t, 16>& uuid() const { return words_.uuid; }
  bool torn() const { return torn_; }
  bool empty() const { return start() == 0; }

  void set_log(std::uint32_t start, std::uint32_t sequence) {
    words_.start = start;
    words_.sequence = sequence;
  }
  // What a mount for writing adds, as the kernel's does: revoke records, and where nothing was chosen yet, checksums
  // and wide numbers like those of the file system. Precondition: the log is empty.
  void adopt_features(const ext2_super_block& super);
  // Stores what was adopted, durably. The features lie in the first line, what they speak of in others: so those come
  // first, and one that is cut short is what it was before. Test: Torn.AnAdoptionIsTheOldOneOrTheNew.
  Status write_adopted(device::Device& device, const JournalArea& area);
  // The bytes for the medium, checksum set.
  JournalSuperWords sealed() const;
  // Stores them and starts making them durable; the caller fences.
  Status write(device::Device& device, const JournalArea& area);

 private:
  void read_shape();

  JournalSuperWords words_{};
  LogShape shape_;
  bool torn_ = false;
};

}  // namespace holdfast::ext4
