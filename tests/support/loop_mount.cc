#include "support/loop_mount.h"

#include <fmt/format.h>

#include "base/check.h"
#include "support/ext4_volume.h"

namespace holdfast::test {

LoopMount::LoopMount(const std::string& image, const std::string& options) {
  const ProgramEnd end =
      run_program(fmt::format("mount -t ext4 -o loop,{} '{}' '{}'", options, image, directory_.path()));
  if (end.status != 0) refusal_ = end.output.empty() ? "mount failed" : end.output;
}

LoopMount::~LoopMount() {
  if (!refusal_.empty()) return;
  const ProgramEnd end = run_program(fmt::format("umount '{}'", directory_.path()));
  // The directory goes with everything in it, which must not be what is mounted there.
  HF_CHECK(end.status == 0, "umount: {}", end.output);
}

}  // namespace holdfast::test
