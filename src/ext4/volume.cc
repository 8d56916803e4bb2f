#include "ext4/volume.h"

#include <cerrno>

namespace holdfast::ext4 {

Error damaged(const Volume& volume, std::string what) {
  return Error(EUCLEAN, volume.name(), std::move(what), "run e2fsck -f");
}

}  // namespace holdfast::ext4
