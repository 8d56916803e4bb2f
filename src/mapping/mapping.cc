#include "mapping/mapping.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/fork.h"

namespace holdfast::mapping {

Mapping::Mapping(pagemap::PageMap& pages, pagemap::PageOwner& owner, pagemap::FileKey file, Marks marks)
    : pages_(pages), file_(file), owner_id_(pages.add_owner(owner)), generation_(fork_generation()), marks_(marks) {}

Mapping::~Mapping() {
  // What a forked child inherited is inert, and destroyed as it was found.
  if (fork_generation() != generation_) return;
  HF_CHECK(entries_.empty(), "inode {} still has {} pages of entries", file_.inode, entry_pages().raw());
  HF_CHECK(closed_gates_.load(std::memory_order_relaxed) == 0 && breaks_count_.load(std::memory_order_relaxed) == 0,
           "inode {} still has breaks", file_.inode);
  pages_.remove_owner(owner_id_);
}

void Mapping::set_translation_remover(TranslationRemover* remover) {
  remover_.store(remover, std::memory_order_release);  // partner: the load in zap
}

void Mapping::set_mark(PageIndex index, EntryMark mark) {
  const MutexLock lock(tree_);
  if (entries_.find({index, index + PageCount(1)})) entries_.set_mark(index, mark);
}

void Mapping::clear_mark(PageIndex index, EntryMark mark) {
  const MutexLock lock(tree_);
  entries_.clear_mark(index, mark);
}

void Mapping::clear_marks(PageIndex index) {
  for (const EntryMark mark : {EntryMark::dirty, EntryMark::towrite, EntryMark::spare}) {
    entries_.clear_mark(index, mark);
  }
}

bool Mapping::marked(PageIndex index, EntryMark mark) const {
  const MutexLock lock(tree_);
  return entries_.marked(index, mark);
}

std::optional<XArray::Found> Mapping::first_marked(PageRange range, EntryMark mark) const {
  const MutexLock lock(tree_);
  return entries_.find_marked(range, mark);
}

std::optional<std::string> Mapping::check_entry(PageIndex index, Entry entry) const {
  const PageRange unit{index, index + entry.order().pages()};
  if (!index.is_aligned(entry.order())) return fmt::format("M2: entry at {} is not aligned", index.raw());
  if (straddles_break(unit)) return fmt::format("M5: the entry at {} straddles a break", index.raw());
  if (marks_ == Marks::kept && entry.has_page() && !entry.locked() &&
      entry.clean() == entries_.marked(index, EntryMark::dirty)) {
    return fmt::format("M6: the entry at {} is {}", index.raw(), entry.clean() ? "CLEAN and dirty" : "neither");
  }
  if (!entry.tracks()) return std::nullopt;
  if (!entry.pfn().is_aligned(entry.order())) return fmt::format("E2: page of the entry at {}", index.raw());
  const pagemap::CountWord word = pages_.read(entry.pfn(), entry.order());
  if (word.tracked() == 0) return fmt::format("M1: the page of the entry at {} is not tracked", index.raw());
  if (entry.shared()) return std::nullopt;
  if (word.tracked() != 1) return fmt::format("M1: {} entries name the page at {}", word.tracked(), index.raw());
  const pagemap::OwnerId owner = pages_.owner(entry.pfn(), entry.order());
  const PageIndex owner_index = pages_.index(entry.pfn(), entry.order());
  if (owner != owner_id_ || owner_index != index) {
    return fmt::format("M1: the page of the entry at {} says owner {} index {}", index.raw(), owner, owner_index.raw());
  }
  for (const BreakRecord& one : breaks_) {
    if (one.state == BreakState::active && one.range.overlaps(unit) && !word.breaking()) {
      return fmt::format("M4: the page of the entry at {} has no break mark", index.raw());
    }
  }
  return std::nullopt;
}

std::optional<std::string> Mapping::check() const {
  const MutexLock lock(tree_);
  if (const auto broken = entries_.check()) return *broken;
  std::uint64_t all = 0;
  std::uint64_t tracked = 0;
  PageRange rest{PageIndex(0), kEndOfFile};
  while (const auto found = entries_.find(rest)) {
    if (found->index < rest.first) return fmt::format("M2: the entry at {} overlaps another", found->index.raw());
    if (auto broken = check_entry(found->index, found->entry)) return broken;
    const PageCount size = found->entry.order().pages();
    all += size.raw();
    if (found->entry.tracks()) tracked += size.raw();
    rest.first = found->index + size;
  }
  if (all != entry_pages().raw() || tracked != tracked_pages().raw()) {
    return fmt::format("M2: {} and {} pages counted, {} and {} found", entry_pages().raw(), tracked_pages().raw(), all,
                       tracked);
  }
  return std::nullopt;
}

}  // namespace holdfast::mapping
