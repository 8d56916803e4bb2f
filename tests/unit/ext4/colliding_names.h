// Different names with the same hash.
#pragma once

#include <string>
#include <vector>

namespace holdfast::ext4 {

// 60 names of 255 bytes that have one hash under HashVersion::legacy; a leaf holds 15 of them.
std::vector<std::string> colliding_names();

}  // namespace holdfast::ext4
