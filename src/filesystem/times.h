// Times of a file: which operation notes which, without a lock where the operation takes none.
//
// Reads and writes in place store the kernel's coarse clock into an atomic; it is folded into the attributes when they
// change, are synced, or the last handle goes. Whoever reports times takes the newer of the two.
#pragma once

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Whether a read is to note the access time: it is not later than the last change, or a day old (relatime of mount(8)).
bool access_time_due(const Attributes& attributes);

// A write in place. No lock.
void note_write(Inode& inode);
// A read. No lock; does nothing on a file system mounted for reading.
void note_read(Inode& inode);

// The newest times go to the attributes; true when that changed them.
bool fold_times(Inode& inode) HF_REQUIRES(inode.lock);
// Contents or size change under the lock: modified and changed are now.
void note_change(Inode& inode) HF_REQUIRES(inode.lock);

}  // namespace holdfast::filesystem
