// Goal: names hash as everyone else's ext4 hashes them, or indexes would be unreadable elsewhere. Method: vectors that
// debugfs printed (dx_hash -h VERSION -s SEED NAME), and random names against libext2fs.
#include "ext4/dir_hash.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>

extern "C" {
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
}

namespace holdfast::ext4 {
namespace {

// 5f3a9c11-7b20-4e6d-8a44-90d2c1e7f356
constexpr std::array<std::uint8_t, 16> kSeed{0x5f, 0x3a, 0x9c, 0x11, 0x7b, 0x20, 0x4e, 0x6d,
                                             0x8a, 0x44, 0x90, 0xd2, 0xc1, 0xe7, 0xf3, 0x56};

HashFunction seeded(HashVersion version) {
  HashFunction function;
  function.version = version;
  std::memcpy(function.seed.data(), kSeed.data(), kSeed.size());
  return function;
}

struct Vector {
  HashVersion version;
  std::string name;
  NameHash hash;
};

class DirHashVector : public testing::TestWithParam<Vector> {};

TEST_P(DirHashVector, AgreesWithDebugfs) {
  const Vector& vector = GetParam();
  const NameHash hash = seeded(vector.version)(vector.name);
  EXPECT_EQ(hash.major, vector.hash.major);
  EXPECT_EQ(hash.minor, vector.hash.minor);
}

INSTANTIATE_TEST_SUITE_P(
    Names, DirHashVector,
    testing::Values(Vector{HashVersion::legacy, "a", {0xe74b53e2, 0x0}},
                    Vector{HashVersion::legacy, "file1", {0x9fe8969e, 0x0}},
                    Vector{HashVersion::legacy, "a-name-of-exactly-32-bytes-aaaaaa", {0x8e655516, 0x0}},
                    Vector{HashVersion::legacy,
                           "Gr\xc3\xbc\xc3\x9f"
                           "e-\xc3\xa4\xc3\xb6\xc3\xbc.txt",
                           {0x691408fc, 0x0}},
                    Vector{HashVersion::legacy, std::string(255, 'x'), {0x30557da6, 0x0}},
                    Vector{HashVersion::half_md4, "a", {0x51f320c8, 0x8f55a3}},
                    Vector{HashVersion::half_md4, "file1", {0x83274778, 0xb7aed30a}},
                    Vector{HashVersion::half_md4, "a-name-of-exactly-32-bytes-aaaaaa", {0x3d1ec840, 0xba2f60bc}},
                    Vector{HashVersion::half_md4,
                           "Gr\xc3\xbc\xc3\x9f"
                           "e-\xc3\xa4\xc3\xb6\xc3\xbc.txt",
                           {0x5bea2436, 0x33736f41}},
                    Vector{HashVersion::half_md4, std::string(255, 'x'), {0xbfcf24ae, 0x30cb9b14}},
                    Vector{HashVersion::tea, "a", {0x339d41b0, 0xb9cd1e6a}},
                    Vector{HashVersion::tea, "file1", {0x364ade1c, 0xd9490994}},
                    Vector{HashVersion::tea, "a-name-of-exactly-32-bytes-aaaaaa", {0xbeff3d16, 0xfa121d9e}},
                    Vector{HashVersion::tea,
                           "Gr\xc3\xbc\xc3\x9f"
                           "e-\xc3\xa4\xc3\xb6\xc3\xbc.txt",
                           {0x60b0f822, 0xb1548ec6}},
                    Vector{HashVersion::tea, std::string(255, 'x'), {0xea4d8dfa, 0x62a09dc8}}));

class DirHashVersion : public testing::TestWithParam<int> {};

// Versions 3 to 5 are the library's names for unsigned bytes.
TEST_P(DirHashVersion, AgreesWithLibraryOnRandomNames) {
  std::mt19937 random(20240 + static_cast<unsigned>(GetParam()));
  for (int round = 0; round < 20000; ++round) {
    HashFunction function;
    function.version = static_cast<HashVersion>(GetParam() % 3);
    function.signed_bytes = GetParam() < 3;
    if (round % 2 == 0) {
      for (std::uint32_t& word : function.seed) word = static_cast<std::uint32_t>(random());
    }
    const std::size_t length = 1 + random() % (round % 10 == 0 ? 255 : 40);
    std::string name;
    while (name.size() < length) name += static_cast<char>(round % 3 == 0 ? random() : 'a' + random() % 26);
    ext2_dirhash_t major = 0;
    ext2_dirhash_t minor = 0;
    ASSERT_EQ(ext2fs_dirhash(GetParam(), name.data(), static_cast<int>(length), function.seed.data(), &major, &minor),
              0);
    if (function.version == HashVersion::legacy) minor = 0;
    const NameHash hash = function(name);
    ASSERT_EQ(hash.major, major) << testing::PrintToString(name);
    ASSERT_EQ(hash.minor, minor) << testing::PrintToString(name);
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, DirHashVersion, testing::Range(0, 6));

TEST(DirHash, SeedOfZerosIsTheUsualOne) {
  HashFunction usual;
  usual.seed = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  EXPECT_EQ(HashFunction{}("a"), usual("a"));
  EXPECT_EQ(HashFunction{}("a").major, 0xd5fa7d7au);
  EXPECT_NE(HashFunction{}("a"), seeded(HashVersion::half_md4)("a"));
}

}  // namespace
}  // namespace holdfast::ext4
