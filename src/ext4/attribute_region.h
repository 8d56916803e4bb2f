// A region of extended attributes as it lies on the medium: the rest of an inode, or a block.
//
// Entries grow from the front, their values from the back; four zero bytes end the entries. In a block entries are in
// order of prefix, length of name and name, and carry hashes by which the kernel finds blocks to share; in an inode
// they are in any order, without hashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ext4/attribute_name.h"

namespace holdfast::ext4 {

inline constexpr std::uint32_t kAttributeMagic = 0xea020000;

struct StoredAttribute {
  std::uint8_t prefix = 0;
  std::string rest;  // of the name
  std::string value;

  bool named(const AttributeName& name) const {
    return prefix == static_cast<std::uint8_t>(name.prefix) && rest == name.rest;
  }
};

using AttributeList = std::vector<StoredAttribute>;

// The head of an entry, which its name follows.
struct AttributeEntry {
  std::uint8_t name_bytes = 0;
  std::uint8_t prefix = 0;
  std::uint16_t value_offset = 0;
  std::uint32_t value_inode = 0;
  std::uint32_t value_size = 0;
  std::uint32_t hash = 0;
};
static_assert(sizeof(AttributeEntry) == 16);

// How the bytes of a name count in its hash. Kernels since 6.2 write the first and read both, older ones wrote what
// their machine calls a char.
enum class NameBytes : std::uint8_t { as_unsigned, as_signed };

// The hash that an entry carries.
std::uint32_t attribute_hash(std::string_view name, std::string_view padded_value,
                             NameBytes bytes = NameBytes::as_unsigned);

enum class AttributeHome : std::uint8_t { inode, block };

// Where the parts of a region lie: entries begin at `first_entry`, offsets of values count from 0.
struct AttributeRegion {
  AttributeHome home = AttributeHome::inode;
  std::size_t first_entry = 0;
  std::size_t bytes = 0;

  std::size_t room() const { return bytes - first_entry; }
};

// Appends what the region holds. The answer is the complaint, empty when there is none.
std::string parse_attributes(std::span<const std::byte> bytes, const AttributeRegion& region, AttributeList& found);

// What the list takes of a region's room().
std::size_t bytes_needed(const AttributeList& list);

// Order in which a block wants its entries.
bool attribute_before(const StoredAttribute& a, const StoredAttribute& b);

// Fills bytes from region.first_entry on. Precondition: bytes_needed(list) <= room(); sorted for a block. Answers the
// hash over all entries, which a block's header carries; 0 when one of them has none.
std::uint32_t write_attributes(std::span<std::byte> bytes, const AttributeRegion& region, const AttributeList& list);

}  // namespace holdfast::ext4
