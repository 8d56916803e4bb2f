// Memory of the device that is lost (device/poison.h), and what becomes of the files that have it.
//
// From the moment on that the device knows of it, a read and a write of such bytes fail (EIO), and so do new entries
// and pins that need one (EHWPOISON). The withdrawal then makes the rest true: windows show a bus error there, entries
// go, so that the lock-free way to a pin finds none, and what is free is never handed out (Format::avoid_lost). Entries
// of 2 MiB around a lost page go as well, and come back as small ones. A file that has lost pages keeps them until they
// are punched or cut off, or it is removed; then their blocks are never handed out again.
//
// Whoever holds a pin keeps it: the address is good, but for what the hardware says to whoever touches it. The page
// keeps an entry then, which is ZAP for good, so that a break finds the pin and nobody else gets one.
//
// Either/or of an entry and a loss: who inserts an entry publishes a Hold, then asks whether the page is lost; a loss
// is published, and then holds and entries are looked for, in this order, all sequentially consistent. So either the
// insert sees the loss, or the hold or the entry is seen, and the gate waits for the hold. Test:
// Poison.AnEntryComesAsThePageIsLost. Of a window and a loss: what is shown is looked up under the windows' lock, which
// the refresh takes after that.
//
// Locking: a withdrawal is the worker's turn (rank filesystem), on whatever thread it runs.
#pragma once

#include <cstdint>
#include <vector>

#include <holdfast/filesystem.h>

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Says that the memory is lost, and withdraws it. Waits for no pin; for the worker's turn. EINVAL: not inside the
// device; nothing was done. EROFS and EIO: free blocks could not be taken out of use for good; they are not handed out
// by this mount. EAGAIN: another break has the entries of some pages, and no thread could be started to try again.
Status lose(Core& core, std::uint64_t offset, std::uint64_t length);

// What is lost, in order.
Result<std::vector<BadRange>> bad_ranges(Core& core);

// What the device learns of itself is withdrawn, soon and by the worker.
void listen_for_losses(Core& core);
// After a copy of this thread that failed: if a machine check was the reason, its page is lost. True: that was news.
// May be called with locks and inside a Hold.
bool learn_of_lost_memory(Core& core) noexcept;

// The byte of the file lies in lost memory.
Error memory_lost(const Inode& inode, std::uint64_t offset, int code);
// EIO: a copy to or from the byte's memory failed, which is lost, or cannot be `done` ("read", "written") now.
Error memory_failed(const Inode& inode, std::uint64_t offset, const char* done);

}  // namespace holdfast::filesystem
