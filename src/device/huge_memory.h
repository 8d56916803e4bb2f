// Memory that the kernel keeps in units of 2 MiB without a system-wide setting: a file without a name on a tmpfs of our
// own, mounted with huge=within_size where nobody else sees it.
//
// The mount lives in a mount namespace of its own, which ends at once; the file lives as long as its descriptor. Needs
// no privilege where user namespaces are allowed; only root without CAP_SYS_ADMIN needs CAP_SETFCAP instead, as the
// kernel lets nobody else map root into one. Semantics: Documentation/admin-guide/mm/transhuge.rst and tmpfs.rst.
#pragma once

#include "device/file_descriptor.h"

namespace holdfast::device {

// An empty file of such a tmpfs; nothing where the machine has no such thing (HOLDFAST_MASK=huge-tmpfs). About 1 ms.
FileDescriptor open_huge_memory();

}  // namespace holdfast::device
