// New images for tests of damage, the same in every run as far as their maker lets them be; ImagePlaces::settle does
// the rest, once they are filled.
#pragma once

#include <cstdint>
#include <string>

namespace holdfast::test {

// By our own mkfs, with its defaults. A failure is one of the test.
void make_image(const std::string& path, std::uint64_t bytes);
// By mke2fs, with blocks of 4 KiB and further options. False: it said `said`, or is not installed.
bool make_image_by_mke2fs(const std::string& path, const std::string& options, std::uint64_t bytes, std::string& said);

}  // namespace holdfast::test
