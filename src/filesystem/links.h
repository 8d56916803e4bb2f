// Counting names: what an inode's link count becomes when a name comes or goes.
//
// A directory with more sub-directories than the count can say has the count 1, "unknown", as dir_nlink of ext4 does
// (kernel, fs/ext4/namei.c); it stays 1 from then on.
#pragma once

#include <cstdint>

namespace holdfast::filesystem {

inline constexpr std::uint32_t kLinksMax = 65000;

constexpr std::uint32_t with_subdirectory(std::uint32_t links) {
  return links == 1 || links + 1 > kLinksMax ? 1 : links + 1;
}
constexpr std::uint32_t without_subdirectory(std::uint32_t links) { return links > 2 ? links - 1 : links; }

}  // namespace holdfast::filesystem
