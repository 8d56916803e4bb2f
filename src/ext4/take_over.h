// Taking a volume over from a process that died in this boot of the kernel with the volume open.
//
// The process is gone, and what it gave to devices is not: an io_uring read that it began into a page goes on, and
// writes to that page whoever owns it by then. Which pages those are died with the process. They are pages of blocks
// that it had pinned: blocks of files, of its quarantine (orphans now), or blocks of files that no commit knew of,
// which are free now. Another boot is proof that all of it is over.
//
// So, where it cannot be told for all of the device that no page is held (Device::part_from_transfers):
//   - free blocks get other memory before anything is handed out; those that cannot are withheld;
//   - a block that is in use now, an orphan's included, is withheld when it is freed (Allocator, A4): its memory may be
//     registered with a device of this process by then, and cannot be replaced any more.
// What is withheld is free on the medium, as ext4 knows no other word for it; so the superblock says (opener.h) that
// the next mount of this boot, too, has to do all of this. It gets other memory for what is withheld now.
//
// On /dev/dax no memory can be replaced. There a page is handed out no sooner than its block's owner is durable
// (MAP_SYNC), so free blocks were nobody's, and orphans stay as they are until another boot.
#pragma once

#include "base/result.h"
#include "ext4/volume_core.h"

namespace holdfast::ext4 {

// Writes this process into the superblock, to be committed. `trusted`: somebody knows that the transfers of the process
// before are over. Takes time for the groups of the volume when there was one. Errors of reading the bitmaps; then
// nothing was changed but memory of free blocks.
Status take_over(VolumeCore& volume, bool trusted);

}  // namespace holdfast::ext4
