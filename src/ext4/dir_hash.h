// Hashes of names, by which indexed directories are ordered: those of the ext4 format.
//
// A hash is two words. The major one orders the index; its lowest bit is 0, since the index keeps that bit to say that
// the names of one hash go on in the next leaf. The minor one only tells names of one major hash apart.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace holdfast::ext4 {

enum class HashVersion : std::uint8_t { legacy = 0, half_md4 = 1, tea = 2 };  // as on the medium

struct NameHash {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;  // always 0 with HashVersion::legacy
  bool operator==(const NameHash&) const = default;
};

// How the names of a file system are hashed.
struct HashFunction {
  HashVersion version = HashVersion::half_md4;
  bool signed_bytes = true;             // bytes above 127 count as negative (the superblock's flags say which)
  std::array<std::uint32_t, 4> seed{};  // all zero: the usual constants

  NameHash operator()(std::string_view name) const;
};

}  // namespace holdfast::ext4
