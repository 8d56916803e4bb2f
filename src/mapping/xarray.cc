#include "mapping/xarray.h"

#include <new>

#include "base/check.h"
#include "base/epoch.h"
#include "base/fault_point.h"

namespace holdfast::mapping {

// --- nodes ---

XArray::Node* XArray::make_node(unsigned shift, Node* parent, unsigned offset) {
  if (HF_FAULT_POINT("mapping.node")) return nullptr;
  Node* const node = new (std::nothrow) Node(shift, parent, offset);
  if (node != nullptr) ++nodes_;
  return node;
}

void XArray::free_node(Node* node) {
  --nodes_;
  epoch::retire(node);
}

void XArray::destroy(Node* node) {
  if (node->shift != 0) {
    for (unsigned i = 0; i < kSlots; ++i) {
      if (is_node(peek(*node, i))) destroy(as_node(peek(*node, i)));
    }
  }
  delete node;
}

XArray::~XArray() {
  if (const Word root = root_.load(std::memory_order_relaxed); root != 0) destroy(as_node(root));
}

// Adds roots until the tree reaches up to the index `last` and down from `shift`.
bool XArray::grow(std::uint64_t last, unsigned shift) {
  const Word old = root_.load(std::memory_order_relaxed);
  if (old == 0) {
    while (last >> shift >> kStep != 0) shift += kStep;
    Node* const root = make_node(shift, nullptr, 0);
    if (root == nullptr) return false;
    root_.store(as_word(root), std::memory_order_release);  // partner: the acquire in load
    return true;
  }
  for (Node* top = as_node(old); !top->covers(last) || top->shift < shift;) {
    Node* const root = make_node(top->shift + kStep, nullptr, 0);
    if (root == nullptr) {
      shrink();
      return false;
    }
    root->used = 1;
    for (std::size_t mark = 0; mark < kMarks; ++mark) root->marks.at(mark) = top->marks.at(mark) != 0 ? 1 : 0;
    root->slots[0].store(as_word(top), std::memory_order_relaxed);
    top->parent = root;
    top->offset = 0;
    root_.store(as_word(root), std::memory_order_release);  // partner: the acquire in load
    top = root;
  }
  return true;
}

// Takes `node` and then its ancestors away while they are empty.
void XArray::prune(Node* node) {
  while (node != nullptr && node->used == 0) {
    Node* const parent = node->parent;
    if (parent == nullptr) {
      root_.store(0, std::memory_order_release);
    } else {
      parent->slots[node->offset].store(0, std::memory_order_release);
      --parent->used;
    }
    free_node(node);
    node = parent;
  }
  shrink();
}

void XArray::shrink() {
  for (;;) {
    Node* const top = as_node(root_.load(std::memory_order_relaxed));
    if (top == nullptr || top->used != 1 || !is_node(peek(*top, 0))) return;
    Node* const child = as_node(peek(*top, 0));
    child->parent = nullptr;
    // A reader that is still in `top` goes on to the child, which stays current (X1).
    root_.store(as_word(child), std::memory_order_release);
    free_node(top);
  }
}

// --- entries ---

XArray::Place XArray::locate(PageIndex index) const {
  Word word = root_.load(std::memory_order_relaxed);
  if (word == 0 || !as_node(word)->covers(index.raw())) return {};
  Place place;
  while (is_node(word)) {
    place.node = as_node(word);
    place.offset = place.node->offset_of(index.raw());
    word = peek(*place.node, place.offset);
  }
  if (is_sibling(word)) place.offset = entry_offset(word);
  return word == 0 ? Place{} : place;
}

bool XArray::store(PageIndex index, Entry entry) {
  const unsigned shift = shift_of(entry.order());
  const unsigned span = span_of(entry.order());
  HF_CHECK(index.is_aligned(entry.order()) && index < kEndOfFile, "E2: index {:#x} of an entry of order {}",
           index.raw(), entry.order().raw());
  if (!grow((index + entry.order().pages()).raw() - 1, shift)) return false;
  Node* node = as_node(root_.load(std::memory_order_relaxed));
  while (node->shift > shift) {
    const unsigned offset = node->offset_of(index.raw());
    const Word word = peek(*node, offset);
    HF_CHECK(word == 0 || is_node(word), "E2: an entry covers index {:#x} already", index.raw());
    Node* child = as_node(word);
    if (child == nullptr) {
      child = make_node(node->shift - kStep, node, offset);
      if (child == nullptr) {
        prune(node);
        return false;
      }
      node->slots[offset].store(as_word(child), std::memory_order_release);  // partner: the acquire in load
      ++node->used;
    }
    node = child;
  }
  const unsigned first = node->offset_of(index.raw());
  for (unsigned i = 0; i < span; ++i) {
    HF_CHECK(peek(*node, first + i) == 0, "E2: something covers index {:#x} already", index.raw());
  }
  // release: who sees the entry sees what was done to its page before. The entry before its siblings: a sibling that a
  // reader sees leads to an entry.
  node->slots[first].store(entry.raw(), std::memory_order_release);
  for (unsigned i = 1; i < span; ++i) node->slots[first + i].store(sibling_of(first), std::memory_order_release);
  node->used = static_cast<std::uint8_t>(node->used + span);
  return true;
}

Entry XArray::replace(PageIndex index, Entry entry) {
  const Place place = locate(index);
  HF_CHECK(place.node != nullptr, "no entry covers index {:#x}", index.raw());
  // seq_cst: partner is the load in `load`; see mapping.h.
  const Entry old = Entry::from_raw(place.node->slots[place.offset].exchange(entry.raw(), std::memory_order_seq_cst));
  HF_DEBUG_CHECK(old.order() == entry.order(), "order {} in place of order {}", entry.order().raw(), old.order().raw());
  return old;
}

void XArray::erase(PageIndex index) {
  const Place place = locate(index);
  HF_CHECK(place.node != nullptr, "no entry covers index {:#x}", index.raw());
  for (std::size_t mark = 0; mark < kMarks; ++mark) lower_mark(place, mark);
  const unsigned span = span_of(Entry::from_raw(peek(*place.node, place.offset)).order());
  for (unsigned i = 0; i < span; ++i) place.node->slots[place.offset + i].exchange(0, std::memory_order_seq_cst);
  place.node->used = static_cast<std::uint8_t>(place.node->used - span);
  prune(place.node);
}

// Clears every entry below `node` and gives the nodes to the epoch (X1).
void XArray::discard(Node* node) {
  for (unsigned i = 0; i < kSlots; ++i) {
    const Word word = node->slots[i].exchange(0, std::memory_order_seq_cst);
    if (is_node(word)) discard(as_node(word));
  }
  free_node(node);
}

bool XArray::form(PageIndex index, Entry entry) {
  const unsigned shift = shift_of(entry.order());
  // A first gigabyte that fills a tree of its height has no slot for itself yet.
  if (!grow((index + entry.order().pages()).raw() - 1, shift)) return false;
  Node* node = as_node(root_.load(std::memory_order_relaxed));
  while (node != nullptr && node->shift > shift) node = as_node(peek(*node, node->offset_of(index.raw())));
  HF_CHECK(node != nullptr && node->shift == shift, "nothing fills the unit at index {:#x}", index.raw());
  const unsigned first = node->offset_of(index.raw());
  const unsigned span = span_of(entry.order());
  std::array<bool, kMarks> had{};
  for (unsigned i = 0; i < span; ++i) {
    const Word word = peek(*node, first + i);
    HF_CHECK(is_node(word), "the unit at index {:#x} is not filled by smaller entries", index.raw());
    for (std::size_t mark = 0; mark < kMarks; ++mark) {
      had.at(mark) = had.at(mark) || as_node(word)->marks.at(mark) != 0;
      node->marks.at(mark) &= ~(std::uint64_t{1} << (first + i));
    }
    // As in store: the entry is there before the first sibling names it.
    node->slots[first + i].store(i == 0 ? entry.raw() : sibling_of(first), std::memory_order_seq_cst);
    discard(as_node(word));
  }
  // The parents had the mark before and keep it.
  for (std::size_t mark = 0; mark < kMarks; ++mark) {
    if (had.at(mark)) node->marks.at(mark) |= std::uint64_t{1} << first;
  }
  return true;
}

// --- marks ---

void XArray::raise_mark(Place place, std::size_t mark) {
  while (place.node != nullptr) {
    std::uint64_t& bits = place.node->marks.at(mark);
    const std::uint64_t bit = std::uint64_t{1} << place.offset;
    if ((bits & bit) != 0) return;
    bits |= bit;
    place = {place.node->parent, place.node->offset};
  }
}

void XArray::lower_mark(Place place, std::size_t mark) {
  while (place.node != nullptr) {
    std::uint64_t& bits = place.node->marks.at(mark);
    const std::uint64_t bit = std::uint64_t{1} << place.offset;
    if ((bits & bit) == 0) return;
    bits &= ~bit;
    if (bits != 0) return;
    place = {place.node->parent, place.node->offset};
  }
}

void XArray::set_mark(PageIndex index, EntryMark mark) {
  const Place place = locate(index);
  HF_CHECK(place.node != nullptr, "no entry covers index {:#x}", index.raw());
  raise_mark(place, static_cast<std::size_t>(mark));
}

void XArray::clear_mark(PageIndex index, EntryMark mark) {
  if (const Place place = locate(index); place.node != nullptr) lower_mark(place, static_cast<std::size_t>(mark));
}

bool XArray::marked(PageIndex index, EntryMark mark) const {
  const Place place = locate(index);
  return place.node != nullptr && (place.node->marks.at(static_cast<std::size_t>(mark)) >> place.offset & 1U) != 0;
}

// --- invariants ---

std::optional<const char*> XArray::check_node(const Node& node) {
  unsigned used = 0;
  for (unsigned i = 0; i < kSlots; ++i) {
    const Word word = peek(node, i);
    if (word == 0) {
      for (const std::uint64_t bits : node.marks) {
        if ((bits >> i & 1U) != 0) return "X3: an unused slot has a mark";
      }
      continue;
    }
    ++used;
    if (is_node(word)) {
      const Node& child = *as_node(word);
      if (child.parent != &node || child.offset != i || child.shift + kStep != node.shift) return "X2: a stray node";
      if (child.used == 0) return "X2: an empty node";
      for (std::size_t mark = 0; mark < kMarks; ++mark) {
        if (((node.marks.at(mark) >> i & 1U) != 0) != (child.marks.at(mark) != 0)) return "X3: a mark is not summed up";
      }
      if (const auto broken = check_node(child)) return broken;
    } else if (is_sibling(word)) {
      if (!is_entry(peek(node, entry_offset(word)))) return "X2: a sibling of nothing";
      for (const std::uint64_t bits : node.marks) {
        if ((bits >> i & 1U) != 0) return "X3: a sibling has a mark";
      }
    }
  }
  if (used != node.used) return "X2: used slots are miscounted";
  return std::nullopt;
}

std::optional<const char*> XArray::check() const {
  const Word root = root_.load(std::memory_order_relaxed);
  if (root == 0) return nodes_ == 0 ? std::nullopt : std::optional("X2: nodes outside of the tree");
  const Node& top = *as_node(root);
  if (top.parent != nullptr || top.used == 0) return "X2: an empty tree has a root";
  if (top.used == 1 && is_node(peek(top, 0))) return "X4: a root that could go";
  return check_node(top);
}

}  // namespace holdfast::mapping
