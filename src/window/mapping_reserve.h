// Mappings that the process can give up, so that changes of windows which must not fail do not.
//
// The kernel limits the mappings of a process (vm.max_map_count). At the limit nothing can be mapped or split, not even
// to take something away. What may fail then does, with nothing changed; for the rest (a file that grew, a page that
// cannot be shown) the reserve is spent. Until it is whole again, what may fail is refused.
#pragma once

namespace holdfast::window {

// Makes the reserve whole. False: the limit is too near.
bool fill_mapping_reserve();
// Gives it up.
void spend_mapping_reserve();

}  // namespace holdfast::window
