#include "ext4/attribute_region.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include <fmt/format.h>

#include "base/check.h"
#include "base/units.h"

namespace holdfast::ext4 {

namespace {

constexpr std::size_t kPad = 4;

std::size_t entry_bytes(std::size_t name_bytes) { return round_up(sizeof(AttributeEntry) + name_bytes, kPad); }

}  // namespace

// `value` is padded with zeros to whole words.
std::uint32_t attribute_hash(std::string_view name, std::string_view padded_value, NameBytes bytes) {
  constexpr unsigned kNameShift = 5;
  constexpr unsigned kValueShift = 16;
  std::uint32_t hash = 0;
  for (const char letter : name) {
    const auto signed_letter = static_cast<std::uint32_t>(static_cast<std::int32_t>(static_cast<signed char>(letter)));
    const std::uint32_t value = bytes == NameBytes::as_unsigned ? static_cast<unsigned char>(letter) : signed_letter;
    hash = (hash << kNameShift) ^ (hash >> (32 - kNameShift)) ^ value;
  }
  for (std::size_t at = 0; at < padded_value.size(); at += kPad) {
    std::uint32_t word = 0;
    std::memcpy(&word, padded_value.data() + at, sizeof word);
    hash = (hash << kValueShift) ^ (hash >> (32 - kValueShift)) ^ word;
  }
  return hash;
}

std::string parse_attributes(std::span<const std::byte> bytes, const AttributeRegion& region, AttributeList& found) {
  std::vector<AttributeEntry> headers;
  AttributeList list;
  std::size_t at = region.first_entry;
  for (;;) {
    if (at + kPad > region.bytes) return "the list of attributes does not end";
    std::uint32_t end_mark = 0;
    std::memcpy(&end_mark, bytes.data() + at, sizeof end_mark);
    if (end_mark == 0) break;
    AttributeEntry header;
    if (at + sizeof header > region.bytes) return "the list of attributes does not end";
    std::memcpy(&header, bytes.data() + at, sizeof header);
    // Volumes with the feature for this (ea_inode) are not mounted.
    if (header.value_inode != 0) return "a value lies in another inode";
    const std::size_t next = at + entry_bytes(header.name_bytes);
    if (next + kPad > region.bytes) return "the list of attributes does not end";
    StoredAttribute attribute;
    attribute.prefix = header.prefix;
    attribute.rest.assign(reinterpret_cast<const char*>(bytes.data() + at + sizeof header), header.name_bytes);
    list.push_back(std::move(attribute));
    headers.push_back(header);
    at = next;
  }
  const std::size_t values_begin = at + kPad;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const AttributeEntry& header = headers[i];
    if (header.value_size == 0) continue;
    if (header.value_offset < values_begin || header.value_offset > region.bytes ||
        header.value_size > region.bytes - header.value_offset) {
      return fmt::format("the value of attribute {} lies outside", i);
    }
    list[i].value.assign(reinterpret_cast<const char*>(bytes.data() + header.value_offset), header.value_size);
  }
  found.insert(found.end(), std::make_move_iterator(list.begin()), std::make_move_iterator(list.end()));
  return {};
}

std::size_t bytes_needed(const AttributeList& list) {
  std::size_t needed = kPad;
  for (const StoredAttribute& attribute : list) {
    needed += entry_bytes(attribute.rest.size()) + round_up(attribute.value.size(), kPad);
  }
  return needed;
}

bool attribute_before(const StoredAttribute& a, const StoredAttribute& b) {
  return std::make_tuple(a.prefix, a.rest.size(), std::string_view(a.rest)) <
         std::make_tuple(b.prefix, b.rest.size(), std::string_view(b.rest));
}

std::uint32_t write_attributes(std::span<std::byte> bytes, const AttributeRegion& region, const AttributeList& list) {
  HF_CHECK(bytes.size() >= region.bytes && bytes_needed(list) <= region.room(), "{} bytes of attributes for {}",
           bytes_needed(list), region.room());
  constexpr unsigned kBlockShift = 16;
  std::memset(bytes.data() + region.first_entry, 0, region.room());
  std::size_t at = region.first_entry;
  std::size_t value_end = region.bytes;
  std::uint32_t all = 0;
  bool all_hashed = true;
  for (const StoredAttribute& attribute : list) {
    AttributeEntry header;
    header.name_bytes = static_cast<std::uint8_t>(attribute.rest.size());
    header.prefix = attribute.prefix;
    header.value_size = static_cast<std::uint32_t>(attribute.value.size());
    std::string_view padded;
    if (!attribute.value.empty()) {
      const std::size_t padded_bytes = round_up(attribute.value.size(), kPad);
      value_end -= padded_bytes;
      std::memcpy(bytes.data() + value_end, attribute.value.data(), attribute.value.size());
      header.value_offset = static_cast<std::uint16_t>(value_end);
      padded = {reinterpret_cast<const char*>(bytes.data() + value_end), padded_bytes};
    }
    if (region.home == AttributeHome::block) header.hash = attribute_hash(attribute.rest, padded);
    std::memcpy(bytes.data() + at, &header, sizeof header);
    std::memcpy(bytes.data() + at + sizeof header, attribute.rest.data(), attribute.rest.size());
    at += entry_bytes(attribute.rest.size());
    all = (all << kBlockShift) ^ (all >> (32 - kBlockShift)) ^ header.hash;
    all_hashed = all_hashed && header.hash != 0;
  }
  return all_hashed ? all : 0;
}

}  // namespace holdfast::ext4
