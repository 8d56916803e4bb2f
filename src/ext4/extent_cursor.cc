#include "ext4/extent_cursor.h"

#include <limits>

namespace holdfast::ext4 {

namespace {
constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();
}  // namespace

Status ExtentCursor::seek(std::uint64_t logical) {
  at_end_ = true;
  HF_ASSIGN(depth_, root_depth(volume_, inode_, raw_));
  NodeExpectation expected;
  expected.depth = depth_;
  levels_[0].keep.reset();
  HF_ASSIGN(levels_[0].entries, root_entries(volume_, inode_, raw_, expected));
  levels_[0].upper = expected.upper;
  HF_TRY(descend(0, logical));
  Level& leaf = levels_[depth_];
  if (leaf.position < leaf.entries.size() && to_record(leaf.entries[leaf.position]).end() <= logical) ++leaf.position;
  if (leaf.position == leaf.entries.size()) return climb_forward();
  return take_record();
}

// Chooses positions for `logical` from `level` down.
Status ExtentCursor::descend(std::size_t level, std::uint64_t logical) {
  for (; level < depth_; ++level) {
    levels_[level].position = position_at(levels_[level].entries, logical);
    HF_TRY(enter_child(level));
  }
  levels_[depth_].position = position_at(levels_[depth_].entries, logical);
  return {};
}

Status ExtentCursor::enter_child(std::size_t level) {
  const Level& parent = levels_[level];
  const bool last = parent.position + 1 == parent.entries.size();
  NodeExpectation expected;
  expected.depth = depth_ - static_cast<unsigned>(level) - 1;
  expected.lower = parent.entries[parent.position].key;
  expected.upper = last ? parent.upper : parent.entries[parent.position + 1].key;
  Level& child = levels_[level + 1];
  HF_ASSIGN(child.entries,
            read_node(volume_, inode_, raw_, child_block(parent.entries[parent.position]), expected, child.keep));
  child.upper = expected.upper;
  return {};
}

Status ExtentCursor::take_record() {
  const Level& leaf = levels_[depth_];
  record_ = to_record(leaf.entries[leaf.position]);
  HF_TRY(volume_.check_run(BlockRun{record_.block, record_.count}));
  at_end_ = false;
  return {};
}

Status ExtentCursor::next() {
  Level& leaf = levels_[depth_];
  if (++leaf.position < leaf.entries.size()) return take_record();
  return climb_forward();
}

Status ExtentCursor::climb_forward() {
  at_end_ = true;
  for (std::size_t level = depth_; level > 0;) {
    --level;
    if (levels_[level].position + 1 == levels_[level].entries.size()) continue;
    ++levels_[level].position;
    HF_TRY(enter_child(level));
    HF_TRY(descend(level + 1, 0));
    return take_record();
  }
  return {};
}

Result<bool> ExtentCursor::previous() {
  Level& leaf = levels_[depth_];
  if (leaf.position > 0) {
    --leaf.position;
    HF_TRY(take_record());
    return true;
  }
  for (std::size_t level = depth_; level > 0;) {
    --level;
    if (levels_[level].position == 0) continue;
    --levels_[level].position;
    HF_TRY(enter_child(level));
    HF_TRY(descend(level + 1, kLast));
    HF_TRY(take_record());
    return true;
  }
  return false;
}

}  // namespace holdfast::ext4
