#include "ext4/dir_hash.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace holdfast::ext4 {
namespace {

constexpr std::array<std::uint32_t, 4> kUsualSeed{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

// The largest major hash stands for the end of a directory in the kernel: a name with it takes the one before.
constexpr std::uint32_t kEndMajor = 0xfffffffe;

std::uint32_t value_of(char c, bool signed_bytes) {
  const auto byte = static_cast<std::uint8_t>(c);
  return signed_bytes ? static_cast<std::uint32_t>(static_cast<std::int32_t>(static_cast<std::int8_t>(byte))) : byte;
}

// Packs the next 4 * Words bytes, the first byte highest. What the name does not fill is padded with its length.
template <std::size_t Words>
std::array<std::uint32_t, Words> pack(std::string_view name, bool signed_bytes) {
  const auto length = static_cast<std::uint32_t>(name.size());
  const std::uint32_t padding = (length | (length << 8)) * 0x00010001u;
  std::array<std::uint32_t, Words> words;
  words.fill(padding);
  if (name.size() > 4 * Words) name = name.substr(0, 4 * Words);
  std::size_t word = 0;
  for (; name.size() >= 4; name.remove_prefix(4), ++word) {
    std::uint32_t four = 0;
    std::memcpy(&four, name.data(), 4);
    if ((four & 0x80808080u) == 0 || !signed_bytes) {
      words[word] = __builtin_bswap32(four);
    } else {
      words[word] = 0;
      for (const char c : name.substr(0, 4)) words[word] = value_of(c, true) + (words[word] << 8);
    }
  }
  for (const char c : name) words[word] = value_of(c, signed_bytes) + (words[word] << 8);
  return words;
}

// MD4's three functions, eight steps each.
void half_md4(std::array<std::uint32_t, 4>& state, const std::array<std::uint32_t, 8>& in) {
  constexpr std::uint32_t k2 = 0x5a827999;
  constexpr std::uint32_t k3 = 0x6ed9eba1;
  std::uint32_t a = state[0];
  std::uint32_t b = state[1];
  std::uint32_t c = state[2];
  std::uint32_t d = state[3];
  const auto choose = [](std::uint32_t x, std::uint32_t y, std::uint32_t z) { return z ^ (x & (y ^ z)); };
  const auto majority = [](std::uint32_t x, std::uint32_t y, std::uint32_t z) { return (x & y) + ((x ^ y) & z); };
  const auto parity = [](std::uint32_t x, std::uint32_t y, std::uint32_t z) { return x ^ y ^ z; };
  const auto four_steps = [&](auto mix, std::uint32_t w, std::uint32_t x, std::uint32_t y, std::uint32_t z, int s1,
                              int s2, int s3, int s4) {
    a = std::rotl(a + mix(b, c, d) + w, s1);
    d = std::rotl(d + mix(a, b, c) + x, s2);
    c = std::rotl(c + mix(d, a, b) + y, s3);
    b = std::rotl(b + mix(c, d, a) + z, s4);
  };
  four_steps(choose, in[0], in[1], in[2], in[3], 3, 7, 11, 19);
  four_steps(choose, in[4], in[5], in[6], in[7], 3, 7, 11, 19);
  four_steps(majority, in[1] + k2, in[3] + k2, in[5] + k2, in[7] + k2, 3, 5, 9, 13);
  four_steps(majority, in[0] + k2, in[2] + k2, in[4] + k2, in[6] + k2, 3, 5, 9, 13);
  four_steps(parity, in[3] + k3, in[7] + k3, in[2] + k3, in[6] + k3, 3, 9, 11, 15);
  four_steps(parity, in[1] + k3, in[5] + k3, in[0] + k3, in[4] + k3, 3, 9, 11, 15);
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}

// Sixteen rounds of TEA with the name as the key.
void tea(std::array<std::uint32_t, 4>& state, const std::array<std::uint32_t, 4>& key) {
  constexpr std::uint32_t delta = 0x9e3779b9;
  std::uint32_t x = state[0];
  std::uint32_t y = state[1];
  std::uint32_t sum = 0;
  for (int round = 0; round < 16; ++round) {
    sum += delta;
    x += ((y << 4) + key[0]) ^ (y + sum) ^ ((y >> 5) + key[1]);
    y += ((x << 4) + key[2]) ^ (x + sum) ^ ((x >> 5) + key[3]);
  }
  state[0] += x;
  state[1] += y;
}

std::uint32_t legacy(std::string_view name, bool signed_bytes) {
  std::uint32_t last = 0x12a3fe2d;
  std::uint32_t before = 0x37abe8f9;
  for (const char c : name) {
    std::uint32_t next = before + (last ^ (value_of(c, signed_bytes) * 7152373u));
    if ((next & 0x80000000u) != 0) next -= 0x7fffffffu;
    before = last;
    last = next;
  }
  return last << 1;
}

}  // namespace

NameHash HashFunction::operator()(std::string_view name) const {
  NameHash hash;
  std::array<std::uint32_t, 4> state = seed == std::array<std::uint32_t, 4>{} ? kUsualSeed : seed;
  switch (version) {
    case HashVersion::legacy:
      hash.major = legacy(name, signed_bytes);
      break;
    case HashVersion::half_md4:
      for (; !name.empty(); name.remove_prefix(name.size() < 32 ? name.size() : 32)) {
        half_md4(state, pack<8>(name, signed_bytes));
      }
      hash = {state[1], state[2]};
      break;
    case HashVersion::tea:
      for (; !name.empty(); name.remove_prefix(name.size() < 16 ? name.size() : 16)) {
        tea(state, pack<4>(name, signed_bytes));
      }
      hash = {state[0], state[1]};
      break;
  }
  hash.major &= ~1u;
  if (hash.major == kEndMajor) hash.major = kEndMajor - 2;
  return hash;
}

}  // namespace holdfast::ext4
