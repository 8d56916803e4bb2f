#include "ext4/take_over.h"

#include <vector>

#include "ext4/opener.h"

namespace holdfast::ext4 {
namespace {

bool all_left_alone(device::Device& device) {
  bool alone = true;
  device.part_from_transfers(Pfn(0), device.pages(), device::Contents::kept,
                             [&alone](Pfn /*first*/, PageCount /*count*/) { alone = false; });
  return alone;
}

Status replace_free_memory(VolumeCore& volume) {
  Allocator& allocator = volume.allocator();
  std::vector<BlockRun> held;
  HF_TRY(allocator.each_free_run([&](BlockRun run) -> Status {
    volume.device().part_from_transfers(Pfn(run.first), PageCount(run.count), device::Contents::lost,
                                        [&held](Pfn first, PageCount count) {
                                          held.push_back({first.raw(), count.raw()});
                                        });
    return {};
  }));
  for (const BlockRun& run : held) HF_TRY(allocator.withhold(run));
  return {};
}

}  // namespace

Status take_over(VolumeCore& volume, bool trusted) {
  Opener mine = this_opener();
  const std::optional<Opener> before = opener_of(volume.superblock());
  if (before && before->boot == mine.boot && !trusted) {
    device::Device& device = volume.device();
    const bool replaces = device.replaces_memory();
    mine.left_suspects = !replaces || !all_left_alone(device);
    if (mine.left_suspects) {
      if (replaces) HF_TRY(replace_free_memory(volume));
      volume.allocator().distrust();
    }
    volume.note_predecessor(before->pid, mine.left_suspects && !replaces);
  }
  set_opener(volume.change_superblock(), mine);
  return {};
}

}  // namespace holdfast::ext4
