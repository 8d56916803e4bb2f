// In what units files could be mapped as they lie, and are shown by windows now. Static looks: nothing is counted while
// files are used.
#pragma once

#include <holdfast/units.h>

#include "base/result.h"
#include "filesystem/core.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Of the file's blocks. Takes the inode lock; looks at each 2 MiB that has blocks. EIO, EUCLEAN.
Result<UnitReport> unit_report(Inode& inode);
// Of everything that windows show.
UnitStatistics unit_statistics(Core& core);

}  // namespace holdfast::filesystem
