// Who has the volume open for writing, in its superblock (s_last_mounted, which e2fsck and dumpe2fs show and leave
// alone): "holdfast BOOT PID", and behind it "suspect" while blocks that are free now may be written to by what an
// opener of this boot left behind. Ends with the opener; one that stays tells of a death.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ext4/superblock.h"

namespace holdfast::ext4 {

struct Opener {
  std::string boot;  // of the kernel that it ran on
  std::uint32_t pid = 0;
  bool left_suspects = false;
};

// This process. Where the kernel does not say which boot this is, every one is taken for the same.
Opener this_opener();

// What another program left in the field is nobody.
std::optional<Opener> opener_of(const ext2_super_block& super);
void set_opener(ext2_super_block& super, const std::optional<Opener>& opener);

}  // namespace holdfast::ext4
