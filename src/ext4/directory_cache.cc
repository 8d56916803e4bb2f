#include "ext4/directory_cache.h"

#include <iterator>

#include "base/check.h"

namespace holdfast::ext4 {

DirectoryState* DirectoryCache::find(InodeNumber inode) {
  if (!states_.empty() && states_.front().inode == inode) return &states_.front();
  const auto found = index_.find(raw(inode));
  if (found == index_.end()) return nullptr;
  states_.splice(states_.begin(), states_, found->second);
  return &states_.front();
}

DirectoryState& DirectoryCache::make(InodeNumber inode, std::uint32_t seed) {
  HF_CHECK(index_.find(raw(inode)) == index_.end(), "directory {} has a state already", raw(inode));
  if (states_.size() >= kDirectoriesMax) drop(std::prev(states_.end()));
  DirectoryState& state = states_.emplace_front();
  state.inode = inode;
  state.seed = seed;
  index_.emplace(raw(inode), states_.begin());
  changed(state);
  return state;
}

void DirectoryCache::resize(DirectoryState& state, std::size_t count) {
  HF_CHECK(&state == &states_.front(), "directory {} is not the one used last", raw(state.inode));
  blocks_ += count;
  blocks_ -= state.blocks.size();
  state.blocks.resize(count);
  // One directory above the bound keeps its numbers while it is in use.
  while (blocks_ > kBlocksMax && states_.size() > 1) drop(std::prev(states_.end()));
}

void DirectoryCache::forget(InodeNumber inode) {
  const auto found = index_.find(raw(inode));
  if (found != index_.end()) drop(found->second);
}

void DirectoryCache::drop(States::iterator state) {
  blocks_ -= state->blocks.size();
  index_.erase(raw(state->inode));
  states_.erase(state);
}

}  // namespace holdfast::ext4
