// Index trees written by hand, with nodes as full as a test wants them.
#pragma once

#include <cstdint>
#include <vector>

#include "unit/ext4/directory_image.h"

namespace holdfast::ext4 {

// Makes the directory of the image, which has no names, an index of root, nodes and empty leaves. All names but a few
// fall into one leaf: `wide_first`: the first one below the first node, else the last one below the last.
struct TreePlan {
  std::vector<std::uint32_t> nodes;  // leaves of each node; none: leaves hang on the root
  std::uint32_t root_leaves = 0;     // without nodes
  bool wide_first = true;
};
void build_tree(DirectoryImage& image, const TreePlan& plan);

// How many entries the root and another node can have on this image.
std::uint32_t root_limit(DirectoryImage& image);
std::uint32_t node_limit(DirectoryImage& image);
// Levels of nodes of the directory's index, the root included.
std::uint32_t index_levels(DirectoryImage& image);

}  // namespace holdfast::ext4
