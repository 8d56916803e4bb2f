// Going over a range of the tree: down at an index, along the slots, up at the end of a node.
#include "base/check.h"
#include "mapping/xarray.h"

namespace holdfast::mapping {

unsigned XArray::Cursor::next_used(const Node& node, unsigned offset, const EntryMark* mark) {
  if (mark != nullptr) {
    const std::uint64_t bits = offset < kSlots ? node.marks.at(static_cast<std::size_t>(*mark)) >> offset : 0;
    return bits == 0 ? kSlots : offset + static_cast<unsigned>(__builtin_ctzll(bits));
  }
  while (offset < kSlots && peek(node, offset) == 0) ++offset;
  return offset;
}

bool XArray::Cursor::seek(const EntryMark* mark) {
  if (position_ >= end_) return false;
  Node* node = node_;
  unsigned offset = offset_;
  if (node != nullptr) {
    offset += span_of(entry_.order());
  } else {
    const Word root = array_.root_.load(std::memory_order_relaxed);
    if (root == 0 || !as_node(root)->covers(position_)) return false;
    node = as_node(root);
    offset = node->offset_of(position_);
  }
  node_ = nullptr;
  for (;;) {
    // An entry that began before the position covers it still.
    if (offset < kSlots && is_sibling(peek(*node, offset))) offset = entry_offset(peek(*node, offset));
    offset = next_used(*node, offset, mark);
    if (offset == kSlots) {
      offset = node->offset + 1U;
      node = node->parent;
      if (node == nullptr) return false;
      continue;
    }
    const unsigned above = node->shift + kStep;
    const std::uint64_t start = (position_ >> above << above) | std::uint64_t{offset} << node->shift;
    if (start >= end_) return false;
    if (start > position_) position_ = start;
    const Word word = peek(*node, offset);
    if (is_node(word)) {
      node = as_node(word);
      offset = node->offset_of(position_);
      continue;
    }
    node_ = node;
    offset_ = offset;
    index_ = PageIndex(start);
    entry_ = Entry::from_raw(word);
    // The last page of the entry keeps the position inside this node.
    position_ = behind().raw() - 1;
    return true;
  }
}

void XArray::Cursor::replace(Entry entry) {
  HF_DEBUG_CHECK(node_ != nullptr && entry.order() == entry_.order(), "the cursor stands at no such entry");
  node_->slots[offset_].exchange(entry.raw(), std::memory_order_seq_cst);  // partner: the load in `load`; see mapping.h
  entry_ = entry;
}

void XArray::Cursor::erase() {
  HF_DEBUG_CHECK(node_ != nullptr, "the cursor stands at no entry");
  position_ = behind().raw();
  node_ = nullptr;
  array_.erase(index_);
}

std::optional<XArray::Found> XArray::find(PageRange range) const {
  // The cursor of a reader changes nothing.
  Cursor cursor(const_cast<XArray&>(*this), range);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  if (!cursor.next()) return std::nullopt;
  return Found{cursor.index(), cursor.entry()};
}

std::optional<XArray::Found> XArray::find_marked(PageRange range, EntryMark mark) const {
  Cursor cursor(const_cast<XArray&>(*this), range);  // NOLINT(cppcoreguidelines-pro-type-const-cast): as in find
  if (!cursor.next_marked(mark)) return std::nullopt;
  return Found{cursor.index(), cursor.entry()};
}

}  // namespace holdfast::mapping
