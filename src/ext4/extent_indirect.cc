#include "ext4/extent_indirect.h"

#include <algorithm>
#include <span>

namespace holdfast::ext4 {

namespace {

constexpr std::uint64_t kNumbersPerBlock = kBlockBytes / sizeof(std::uint32_t);

class IndirectReader {
 public:
  IndirectReader(Volume& volume, LogicalRange range, ExtentList& found)
      : volume_(volume), range_(range), found_(found) {}

  // Visits `numbers`, each of which stands for `span` file blocks through `level` further blocks, from `logical` on.
  Status visit(std::span<const std::uint32_t> numbers, std::uint64_t logical, std::uint64_t span, unsigned level) {
    for (const std::uint32_t number : numbers) {
      const std::uint64_t end = logical + span;
      if (number != 0 && logical < range_.end && end > range_.first) {
        HF_TRY(volume_.check_run(BlockRun{number, 1}));
        if (level == 0) {
          add(logical, number);
        } else {
          HF_ASSIGN(const BlockRef block, volume_.cache().read(number, BlockKind::plain));
          HF_TRY(visit({block.as<std::uint32_t>(), kNumbersPerBlock}, logical, span / kNumbersPerBlock, level - 1));
        }
      }
      logical = end;
    }
    return {};
  }

 private:
  void add(std::uint64_t logical, std::uint64_t block) {
    if (added_ && found_.back().end() == logical && found_.back().block + found_.back().count == block) {
      ++found_.back().count;
      return;
    }
    found_.push_back(ExtentRecord{logical, block, 1, false});
    added_ = true;
  }

  Volume& volume_;
  const LogicalRange range_;
  ExtentList& found_;
  bool added_ = false;
};

}  // namespace

Status find_indirect(Volume& volume, InodeNumber, const RawInode& raw, LogicalRange range, ExtentList& found) {
  IndirectReader reader(volume, range, found);
  const std::span<const std::uint32_t> numbers(raw.body.i_block);
  HF_TRY(reader.visit(numbers.first(EXT2_NDIR_BLOCKS), 0, 1, 0));
  std::uint64_t logical = EXT2_NDIR_BLOCKS;
  std::uint64_t span = kNumbersPerBlock;
  for (unsigned level = 1; level <= 3; ++level) {
    HF_TRY(reader.visit(numbers.subspan(EXT2_IND_BLOCK + level - 1, 1), logical, span, level));
    logical += span;
    span *= kNumbersPerBlock;
  }
  return {};
}

}  // namespace holdfast::ext4
