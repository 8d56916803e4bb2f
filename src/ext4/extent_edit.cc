#include "ext4/extent_edit.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/trace.h"

namespace holdfast::ext4 {

// The nodes of one level that a change touches, as they are.
struct ExtentEdit::Level {
  unsigned depth = 0;
  std::vector<BlockNumber> blocks;    // in order; empty for the root
  std::vector<ExtentEntry> before;    // kept: of the first node
  std::vector<ExtentEntry> affected;  // replaced: of all of them; index levels only
  std::vector<ExtentEntry> after;     // kept: of the last node
  std::size_t entries = 0;            // before + affected + after, all levels alike
  std::uint64_t upper = 0;            // keys of the last node are below
};

namespace {

std::vector<ExtentEntry> joined(const std::vector<ExtentEntry>& before, const std::vector<ExtentEntry>& middle,
                                const std::vector<ExtentEntry>& after) {
  std::vector<ExtentEntry> content;
  content.reserve(before.size() + middle.size() + after.size());
  content.insert(content.end(), before.begin(), before.end());
  content.insert(content.end(), middle.begin(), middle.end());
  content.insert(content.end(), after.begin(), after.end());
  return content;
}

}  // namespace

ExtentEdit::ExtentEdit(Volume& volume, InodeNumber inode, RawInode& raw)
    : volume_(volume), inode_(inode), raw_(raw), seed_(volume.inode_seed(inode, raw.body.i_generation)) {}

ExtentEdit::~ExtentEdit() {
  if (applied_) return;
  written_.clear();
  const std::uint64_t ratio = volume_.blocks_per_cluster();
  for (const BlockNumber block : reserved_) {
    volume_.cache().forget(block);
    volume_.unallocate(BlockRun{block, ratio});
  }
}

Status ExtentEdit::plan(std::uint64_t first, std::uint64_t end, const std::vector<ExtentRecord>& records,
                        BlockNumber near) {
  HF_CHECK(levels_.empty() && first < end, "plan [{}, {})", first, end);
  near_ = near;
  HF_TRY(gather(first, end));

  std::vector<ExtentEntry> list;
  list.reserve(records.size());
  for (const ExtentRecord& record : records) list.push_back(to_entry(record));
  const bool at_end = levels_.back().after.empty();

  for (std::size_t level = levels_.size() - 1; level > 0; --level) {
    HF_TRY(join_neighbour(level, list.size()));
    Level& here = levels_[level];
    Level& parent = levels_[level - 1];
    const std::vector<ExtentEntry> content = joined(here.before, list, here.after);
    HF_ASSIGN(list, fill_nodes(content, here.depth, at_end, here.blocks));
    const bool only_child = level == 1 && parent.before.empty() && parent.after.empty();
    const bool root_could_shrink = only_child && list.size() == 1 && content.size() <= kRootEntries;
    if (list == parent.affected && !root_could_shrink) return {};
  }
  return finish_root(joined(levels_[0].before, list, levels_[0].after), levels_[0].depth, at_end);
}

// Finds, from the root down, the nodes that hold records beginning in [first, end), or the leaf where they would be.
Status ExtentEdit::gather(std::uint64_t first, std::uint64_t end) {
  HF_ASSIGN(const unsigned depth, root_depth(volume_, inode_, raw_));
  NodeExpectation expected;
  expected.depth = depth;
  HF_ASSIGN(const ExtentEntries root, root_entries(volume_, inode_, raw_, expected));
  levels_.resize(std::size_t{depth} + 1);
  Level& top = levels_[0];
  top.depth = depth;
  top.upper = expected.upper;
  top.entries = root.size();
  const auto at = [&root](std::size_t position) { return root.begin() + static_cast<std::ptrdiff_t>(position); };
  const std::size_t left = depth == 0 ? position_from(root, first) : position_at(root, first);
  const std::size_t right = depth == 0 ? position_from(root, end) : position_at(root, end - 1) + 1;
  top.before.assign(root.begin(), at(left));
  top.affected.assign(at(left), at(right));
  top.after.assign(at(right), root.end());
  for (std::size_t level = 1; level <= depth; ++level) HF_TRY(gather_nodes(level, first, end));
  return {};
}

Status ExtentEdit::gather_nodes(std::size_t level, std::uint64_t first, std::uint64_t end) {
  Level& here = levels_[level];
  const Level& parent = levels_[level - 1];
  here.depth = parent.depth - 1;
  here.upper = parent.after.empty() ? parent.upper : parent.after.front().key;
  const std::size_t count = parent.affected.size();
  for (std::size_t i = 0; i < count; ++i) {
    const BlockNumber block = child_block(parent.affected[i]);
    here.blocks.push_back(block);
    NodeExpectation expected;
    expected.depth = here.depth;
    expected.lower = parent.affected[i].key;
    expected.upper = i + 1 < count ? parent.affected[i + 1].key : here.upper;
    BlockRef keep;
    HF_ASSIGN(const ExtentEntries node, read_node(volume_, inode_, raw_, block, expected, keep));
    const bool leaf = here.depth == 0;
    std::size_t left = 0;
    std::size_t right = node.size();
    if (i == 0) left = leaf ? position_from(node, first) : position_at(node, first);
    if (i + 1 == count) right = leaf ? position_from(node, end) : position_at(node, end - 1) + 1;
    const auto at = [&node](std::size_t position) { return node.begin() + static_cast<std::ptrdiff_t>(position); };
    here.before.insert(here.before.end(), node.begin(), at(left));
    if (!leaf) here.affected.insert(here.affected.end(), at(left), at(right));
    here.after.insert(here.after.end(), at(right), node.end());
    here.entries += node.size();
  }
  return {};
}

// When a level will be at most half of a node, takes in a sibling of the same parent whose entries fit beside it.
Status ExtentEdit::join_neighbour(std::size_t level, std::size_t added) {
  Level& here = levels_[level];
  Level& parent = levels_[level - 1];
  const std::size_t size = here.before.size() + added + here.after.size();
  if (size >= here.entries || size > kNodeEntries / 2) return {};
  NodeExpectation expected;
  expected.depth = here.depth;
  BlockRef keep;
  if (!parent.before.empty()) {
    expected.lower = parent.before.back().key;
    expected.upper = parent.affected.front().key;
    const BlockNumber block = child_block(parent.before.back());
    HF_ASSIGN(const ExtentEntries node, read_node(volume_, inode_, raw_, block, expected, keep));
    if (size + node.size() <= kNodeEntries) {
      here.before.insert(here.before.begin(), node.begin(), node.end());
      here.blocks.insert(here.blocks.begin(), block);
      parent.affected.insert(parent.affected.begin(), parent.before.back());
      parent.before.pop_back();
      return {};
    }
  }
  if (!parent.after.empty()) {
    expected.lower = parent.after.front().key;
    expected.upper = parent.after.size() > 1 ? parent.after[1].key : parent.upper;
    const BlockNumber block = child_block(parent.after.front());
    HF_ASSIGN(const ExtentEntries node, read_node(volume_, inode_, raw_, block, expected, keep));
    if (size + node.size() <= kNodeEntries) {
      here.after.insert(here.after.end(), node.begin(), node.end());
      here.blocks.push_back(block);
      parent.affected.push_back(parent.after.front());
      parent.after.erase(parent.after.begin());
    }
  }
  return {};
}

// A tree that grows at its end gets full nodes; elsewhere the nodes share the room, for the inserts to come.
Result<std::vector<ExtentEntry>> ExtentEdit::fill_nodes(const std::vector<ExtentEntry>& content, unsigned depth,
                                                        bool at_end, const std::vector<BlockNumber>& reusable) {
  const std::size_t nodes = (content.size() + kNodeEntries - 1) / kNodeEntries;
  std::vector<ExtentEntry> index;
  index.reserve(nodes);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < nodes; ++i) {
    const std::size_t left = content.size() - begin;
    const std::size_t size = at_end ? std::min(left, kNodeEntries) : (left + nodes - i - 1) / (nodes - i);
    Node node;
    if (i < reusable.size()) {
      HF_ASSIGN(node.keep, volume_.cache().read(reusable[i], BlockKind::extent_node, seed_));
    } else {
      HF_ASSIGN(node.keep, new_node());
    }
    node.depth = depth;
    const auto from = content.begin() + static_cast<std::ptrdiff_t>(begin);
    node.entries.assign(from, from + static_cast<std::ptrdiff_t>(size));
    index.push_back(index_entry(node.entries.front().key, node.keep.number()));
    written_.push_back(std::move(node));
    begin += size;
  }
  for (std::size_t i = nodes; i < reusable.size(); ++i) surplus_.push_back(reusable[i]);
  return index;
}

Result<BlockRef> ExtentEdit::new_node() {
  if (HF_FAULT_POINT("ext4.extent.node")) {
    return Error(ENOSPC, fmt::format("inode {}", filesystem::raw(inode_)), "no block for a node of the extent tree");
  }
  HF_ASSIGN(const BlockNumber block, volume_.allocate_metadata(near_));
  reserved_.push_back(block);
  return volume_.cache().fresh(block, BlockKind::extent_node, seed_);
}

// The root holds what fits; more is pushed down a level, and a single child that fits comes up.
Status ExtentEdit::finish_root(std::vector<ExtentEntry> content, unsigned depth, bool at_end) {
  while (content.size() > kRootEntries) {
    HF_ASSIGN(content, fill_nodes(content, depth, at_end, {}));
    if (++depth > kExtentDepthMax) {
      return Error(EFBIG, fmt::format("inode {}", filesystem::raw(inode_)), "the extent tree would be too deep");
    }
  }
  while (content.size() == 1 && depth > 0) {
    const BlockNumber child = child_block(content.front());
    const auto found = std::find_if(written_.begin(), written_.end(),
                                    [child](const Node& node) { return node.keep.number() == child; });
    if (found == written_.end() || found->entries.size() > kRootEntries) break;
    content = std::move(found->entries);
    written_.erase(found);
    surplus_.push_back(child);
    --depth;
  }
  new_depth_ = content.empty() ? 0 : depth;
  new_root_ = std::move(content);
  root_changes_ = true;
  return {};
}

std::int64_t ExtentEdit::growth() const {
  return static_cast<std::int64_t>(reserved_.size()) - static_cast<std::int64_t>(surplus_.size());
}

Status ExtentEdit::apply() {
  applied_ = true;
  BlockCache& cache = volume_.cache();
  for (Node& node : written_) write_node(cache.modify(node.keep), node.depth, node.entries);
  written_.clear();
  if (root_changes_) {
    write_root(raw_, new_depth_, new_root_);
    volume_.inode_changed(inode_);
  }
  HF_TRACE3(extent_edit, filesystem::raw(inode_), reserved_.size(), surplus_.size());
  Status freed;
  const std::uint64_t ratio = volume_.blocks_per_cluster();
  for (const BlockNumber block : surplus_) {
    cache.forget(block);
    Status status = volume_.free_blocks(BlockRun{block / ratio * ratio, ratio});
    if (!status && freed) freed = std::move(status);
  }
  return freed;
}

}  // namespace holdfast::ext4
