// Asks the kernel whether it translates 2 MiB of a shared mapping by one entry.
//
// Semantics: Documentation/admin-guide/mm/pagemap.rst (PAGEMAP_SCAN, Linux 6.7).
#pragma once

#include <cstddef>
#include <optional>

namespace holdfast::device {

// `unit` is the first byte of an aligned 2 MiB of a mapping whose memory is there: its first page is touched, so that
// there is a translation to look at. nullopt: this kernel does not say (HOLDFAST_MASK=pagemap-scan), or the memory is
// broken. 2 us.
std::optional<bool> is_translated_as_unit(const std::byte* unit);

}  // namespace holdfast::device
