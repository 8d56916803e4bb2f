#include "unit/ext4/colliding_names.h"

#include <gtest/gtest.h>

#include <array>

#include "ext4/dir_hash.h"

namespace holdfast::ext4 {
namespace {

// Found by trying letters: the last step of the hash can be turned around, so that a beginning and a wanted hash give
// the one last character that joins them, which is a letter once in 2^25 times.
constexpr std::array<const char*, 60> kEnds{
    "C0tbaS9", "rhkeaIE", "pTDlaFP", "kMKlawq", "ZUinaRx", "IMqnabS", "bT3pahp", "socuaQI", "y7_xaQH", "1MTza13",
    "ZSiBaEe", "yzYFaDi", "8EUGa61", "MiiNapS", "ifdOaSR", "5kzQa11", "mNSRaYB", "oglUa67", "-gnVaIy", "fxPWav5",
    "q8XZa8n", "Crc0ax9", "x_h0aCO", "fHS5aVA", "cO67anG", "KI09a7R", "8yDabEV", "z9odbKu", "p-7ebiE", "rOigbGZ",
    "f5Mgb3j", "M_ohble", "cQ2lbng", "3Z6lbRz", "b77mbCb", "zN-nbuf", "Uq4qbkx", "nXjtbBK", "Rfytb66", "FP5tbRg",
    "dk-tbbc", "QxsCbur", "DweEbcO", "B_AFbwC", "Z3RIbG1", "MbnJbGY", "ArXLbU5", "o9HMbCk", "YixObls", "RkIObEK",
    "KfqPbSN", "89nRbw1", "NIaVbtP", "cUxZbIA", "8EO1bpG", "lPZ2bB7", "7qV8bT4", "wLV9bhi", "Ms2-b05", "Jf9bcGT"};

}  // namespace

std::vector<std::string> colliding_names() {
  std::vector<std::string> names;
  HashFunction hash;
  hash.version = HashVersion::legacy;
  for (const char* const end : kEnds) {
    names.push_back(std::string(248, 'x') + end);
    EXPECT_EQ(hash(names.back()), hash(names.front())) << end;
  }
  return names;
}

}  // namespace holdfast::ext4
