// The commit that nobody asks for: what changed is durable some seconds later (Format::tend).
//
// It runs on the worker's thread, in the worker's turn, and so neither beside an unmount's last commit nor after it. In
// a forked child there is no such thread.
#pragma once

#include "filesystem/worker.h"

namespace holdfast::filesystem {

// Nothing happens where the format does not ask for it. Where no thread can be started there is no timer: then sync,
// unmount and a full journal are what commits.
void start_commit_timer(Core& core);

}  // namespace holdfast::filesystem
