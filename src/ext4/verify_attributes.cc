// Extended attributes, in the rest of an inode and in blocks: entries and values lie apart, hashes are right, and a
// block is shared by as many inodes as it says.
#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "ext4/attribute_region.h"
#include "ext4/verify_state.h"

namespace holdfast::ext4 {
namespace {

constexpr std::size_t kPad = 4;
constexpr std::uint32_t kValueBytesMax = 1U << 24;

struct BlockHead {
  std::uint32_t magic;
  std::uint32_t references;
  std::uint32_t blocks;
};

// Bytes of a region that are spoken for.
class Taken {
 public:
  explicit Taken(std::size_t bytes) : bytes_(bytes) {}
  // False: outside, or somebody has some of it already.
  bool take(std::size_t first, std::size_t count) {
    if (first > bytes_ || count > bytes_ - first) return false;
    for (const auto& [begin, end] : ranges_) {
      if (first < end && begin < first + count) return false;
    }
    ranges_.emplace_back(first, first + count);
    return true;
  }

 private:
  std::size_t bytes_;
  std::vector<std::pair<std::size_t, std::size_t>> ranges_;
};

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::string_view text(const std::byte* from, std::size_t bytes) { return {reinterpret_cast<const char*>(from), bytes}; }

// Precondition: name and value lie inside.
bool hash_fits(const AttributeEntry& entry, const std::byte* name, const std::byte* values) {
  const std::string_view name_text = text(name, entry.name_bytes);
  std::string_view value_text;
  if (entry.value_size != 0)
    value_text = text(values + entry.value_offset, round_up(std::size_t{entry.value_size}, kPad));
  return entry.hash == attribute_hash(name_text, value_text) ||
         entry.hash == attribute_hash(name_text, value_text, NameBytes::as_signed);
}

// The complaint about what lies behind the magic of an inode's rest, which is `bytes`; null when there is none. Every
// entry takes its bytes, in whatever order the values lie.
const char* complaint_inside(std::span<const std::byte> bytes) {
  constexpr std::size_t kMagic = sizeof(std::uint32_t);
  Taken taken(bytes.size());
  taken.take(0, kMagic);
  std::size_t remaining = bytes.size() - kMagic;
  std::size_t at = kMagic;
  while (remaining >= sizeof(AttributeEntry) && load<std::uint32_t>(bytes.data() + at) != 0) {
    const auto entry = load<AttributeEntry>(bytes.data() + at);
    if (!taken.take(at, round_up(sizeof entry + entry.name_bytes, kPad))) return "entries that overlap";
    remaining -= sizeof entry;
    const std::size_t name = round_up(std::size_t{entry.name_bytes}, kPad);
    if (name > remaining) return "a name that is too long";
    remaining -= name;
    if (entry.value_inode != 0) return "a value in another inode";
    if (entry.value_size > remaining) return "a value that is too long";
    if (entry.value_size != 0 &&
        !taken.take(kMagic + entry.value_offset, round_up(std::size_t{entry.value_size}, kPad))) {
      return "values that overlap";
    }
    if (entry.hash != 0 && !hash_fits(entry, bytes.data() + at + sizeof entry, bytes.data() + kMagic)) {
      return "a hash that does not match";
    }
    remaining -= entry.value_size;
    at += round_up(sizeof entry + entry.name_bytes, kPad);
  }
  return taken.take(at, kPad) ? nullptr : "entries that do not end";
}

const char* complaint_in_block(const std::byte* bytes) {
  constexpr std::size_t kHead = 32;
  Taken taken(kBlockBytes);
  taken.take(0, kHead);
  std::size_t at = kHead;
  while (at < kBlockBytes && load<std::uint32_t>(bytes + at) != 0) {
    if (kBlockBytes - at < sizeof(AttributeEntry)) return "entries that do not end";
    const auto entry = load<AttributeEntry>(bytes + at);
    if (!taken.take(at, round_up(sizeof entry + entry.name_bytes, kPad))) return "entries that overlap";
    if (entry.prefix == 0) return "a name without a prefix";
    if (entry.value_inode != 0) return "a value in another inode";
    if (entry.value_size > kValueBytesMax || entry.value_offset + entry.value_size > kBlockBytes) {
      return "a value that is too long";
    }
    if (entry.value_size != 0 && !taken.take(entry.value_offset, round_up(std::size_t{entry.value_size}, kPad))) {
      return "values that overlap";
    }
    if (!hash_fits(entry, bytes + at + sizeof entry, bytes)) return "a hash that does not match";
    at += round_up(sizeof entry + entry.name_bytes, kPad);
  }
  return taken.take(at, kPad) ? nullptr : "entries that do not end";
}

}  // namespace

void verify_attributes_inside(Verifying& verifying, const ScannedInode& inode) {
  const std::size_t inode_bytes = verifying.geometry().inode_bytes;
  if (inode_bytes <= EXT2_GOOD_OLD_INODE_SIZE) return;
  const std::size_t room = inode_bytes - EXT2_GOOD_OLD_INODE_SIZE;
  const std::size_t extra = inode.body.i_extra_isize;
  if (extra != 0 && (extra < sizeof(std::uint32_t) || extra > room || extra % kPad != 0)) {
    return verifying.problem(inode.number, fmt::format("its extra size is {}", extra));
  }
  if (extra + sizeof(std::uint32_t) >= room) return;
  const std::span<const std::byte> bytes(inode.bytes + EXT2_GOOD_OLD_INODE_SIZE + extra, room - extra);
  if (load<std::uint32_t>(bytes.data()) != kAttributeMagic) return;
  if (const char* wrong = complaint_inside(bytes)) {
    verifying.problem(inode.number, fmt::format("its extended attributes have {}", wrong));
  }
}

std::uint64_t verify_attribute_block(Verifying& verifying, const ScannedInode& inode) {
  const bool wide = verifying.incompatible(EXT4_FEATURE_INCOMPAT_64BIT);
  const std::uint64_t high = wide ? inode.body.osd2.linux2.l_i_file_acl_high : 0U;
  const std::uint64_t number = high << 32 | inode.body.i_file_acl;
  if (number == 0) return 0;
  const auto problem = [&](const std::string& what) {
    verifying.problem(inode.number, fmt::format("its extended attributes in block {}: {}", number, what));
  };
  if (!verifying.compatible(EXT2_FEATURE_COMPAT_EXT_ATTR) || !verifying.is_block(number)) {
    // Nobody asks an inode without a name for them.
    if (verifying.may_have_names(inode.number)) problem("they cannot be there");
    return 0;
  }
  if (const auto known = verifying.attribute_blocks.find(number); known != verifying.attribute_blocks.end()) {
    ++known->second.seen;
    return 1;
  }
  const Result<BlockRef> block = verifying.volume.cache().read(number, BlockKind::attributes);
  if (!block) {
    problem(block.error().reason());
    return 0;
  }
  const auto* head = block->as<BlockHead>();
  if (head->magic != kAttributeMagic || head->blocks != 1) {
    problem("the head is not one");
  } else if (const char* wrong = complaint_in_block(block->data())) {
    problem(wrong);
  }
  verifying.attribute_blocks.emplace(number, AttributeBlock{head->references, 1});
  if (!verifying.clusters.claim(verifying.geometry().cluster_of(number), 1)) problem("others have this block, too");
  return 1;
}

void verify_attribute_references(Verifying& verifying) {
  for (const auto& [number, block] : verifying.attribute_blocks) {
    if (block.said == block.seen) continue;
    verifying.problem(fmt::format("block {} of extended attributes says that {} inodes share it, and {} do", number,
                                  block.said, block.seen));
  }
}

}  // namespace holdfast::ext4
