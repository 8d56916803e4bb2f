// The end of a file's entries where nobody has the file open.
//
// Precondition of both: nobody can reach the file by a handle, so that no copy, fault, break or new pin is under way or
// begins. They take the tree lock and wait for entry locks, which are short; for pins they do not wait: who holds pages
// keeps them. Afterwards the mapping has no entries and no translations.
#pragma once

#include "layout/lease.h"
#include "mapping/mapping.h"

namespace holdfast::layout {

// The file stays, only nobody uses it: its entries can be made again. Leases stay.
void forget_entries(mapping::Mapping& mapping);

// The last break: the file ends (eviction; the series' BREAK_UNMAP_FINAL and the kernel's dax_break_layout_final, which
// sleep until the pins are gone). It never fails and never sleeps: the caller leaves the blocks of pages that are held
// where they are, until their last put says otherwise. Leases end; their holders are to be told without a lock.
[[nodiscard]] Tellings break_final(mapping::Mapping& mapping);

}  // namespace holdfast::layout
