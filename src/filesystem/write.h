// pwritev(2).
//
// Into blocks that hold data already a write copies in place, under a short hold and no lock. Anything else (holes,
// unwritten blocks, what lies past the end) goes in three steps, of which none holds a lock while it touches the
// caller's memory:
//   1. under the inode lock, holes get unwritten blocks;
//   2. under a short hold, whole pages are copied from the caller into their blocks, which nobody can see: they read
//      as zeros while they are unwritten. Of pages that are written in part the bytes were gathered before;
//   3. under the inode lock, if no block left the file since 1 (Inode::removals) and every page copied as unwritten in
//      2 is unwritten still, the parts are stored (of an unwritten page the rest is zeroed first), the pages become
//      written, and last of all the size grows.
// Why that is right when others write to the same page:
//   - another writer, a pin or a growth converts the page between 2 and 3: it zeroed or filled the whole block, maybe
//     over our bytes. We find it written in 3 and copy once more, in place, like any write to a written page. So after
//     both are done every byte is ours or theirs, and never lost. Test: WriteRace.PageConvertedUnderTheCopy.
//   - two fill the same page in 2 at once: the bytes mix only where both write. The first to come to 3 shows the page;
//     the second finds it written and copies again. Test: WriteRace.TwoFillOnePage.
//   - the block left the file between 1 and 3: `removals` differs and all is done again. The block cannot have been
//     given to anyone while we copied, as the hold is waited for, or keeps the block in quarantine.
//     Test: WriteRace.PunchedUnderTheCopy.
// A reader sees zeros until 3 and then all bytes of each page, never what the block held before.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "filesystem/append.h"  // IWYU pragma: export
#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Bytes written: all, or fewer when the pool filled up in the middle. ENOSPC (none fitted), EFBIG, EROFS, EIO, EINVAL;
// EFAULT as in window_memory.h.
Result<std::size_t> write(Inode& inode, std::uint64_t offset, std::span<const iovec> from);

// Stores bytes of our own memory where there are written blocks below the end of the file already: the bytes at the
// front for which that holds, 0 or more. EIO (none).
Result<std::size_t> overwrite(Inode& inode, std::uint64_t offset, std::span<const std::byte> from);

// Stores bytes of our own memory at `offset`, where every page has a block: of unwritten pages the rest is zeroed, and
// the pages become written. The size is the caller's. EIO.
Status store_locked(Inode& inode, std::uint64_t offset, std::span<const std::byte> bytes) HF_REQUIRES(inode.lock);

}  // namespace holdfast::filesystem
