// The tree behind one file: page index -> Entry, after the kernel's XArray.
//
// A radix tree of 64-way nodes. An entry of order 0 is one slot of a node of shift 0; of order 9, eight slots at shift
// 6 (the first holds the value, the others name it: "siblings"); of order 18, one slot at shift 18. The tree is as high
// as its largest index demands and loses nodes that become empty. Three marks per slot are summed up in the parents,
// so that marked entries are found without looking at the others.
//
// Words of a slot: 0 nothing; low bits 00 a node; 01 an entry; 10 a sibling, with the slot of its entry.
//
// Invariants
//   X1  an entry that a reader can reach is current: a node leaves the tree only after every entry in it was cleared.
//       So a stale node shows nothing, never something old.
//   X2  a node in the tree, except the root of a tree, has at least one used slot; `used` counts siblings too.
//   X3  a mark of a slot that holds a node is set exactly when some slot of that node has it; siblings carry no mark.
//   X4  the root of a tree that is not empty has another child than its first, or an entry there.
//
// | function                                     | needs              | memory                    |
// |----------------------------------------------|--------------------|---------------------------|
// | constructor, destructor                      | nobody else        |                           |
// | load, load_run                               | epoch or tree lock |                           |
// | empty                                        | nothing            |                           |
// | find, find_marked, marked, Cursor            | tree lock          |                           |
// | replace, set_mark, clear_mark                | tree lock          |                           |
// | erase                                        | tree lock          | nodes go to the epoch     |
// | store, form                                  | tree lock          | allocates; false: no room |
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/atomic.h"
#include "base/units.h"
#include "mapping/entry.h"

namespace holdfast::mapping {

// What an entry may be marked with. `dirty`: stored to since the last flush. `towrite`: picked by a running sync.
enum class EntryMark : std::uint8_t { dirty, towrite, spare };

class XArray {
 public:
  // The most that load_run gives back.
  static constexpr unsigned kRun = 64;

  struct Found {
    PageIndex index;  // where the entry begins
    Entry entry;
  };
  class Cursor;

  XArray() = default;
  ~XArray();
  XArray(const XArray&) = delete;
  XArray& operator=(const XArray&) = delete;

  // The entry that covers the index, or none.
  Entry load(PageIndex index) const;
  // What load would say of `index`, `index` + 1, ... while these are single pages of one leaf, in one descent: at least
  // 1, at most `limit` and kRun. An entry of a larger order is given back alone.
  unsigned load_run(PageIndex index, unsigned limit, std::array<Entry, kRun>& out) const;
  // relaxed: a hint unless the tree lock is held.
  bool empty() const { return root_.load(std::memory_order_relaxed) == 0; }

  // The first entry that overlaps the range.
  std::optional<Found> find(PageRange range) const;
  std::optional<Found> find_marked(PageRange range, EntryMark mark) const;
  bool marked(PageIndex index, EntryMark mark) const;

  // Puts an entry where there is none. `index` is aligned to its order and nothing overlaps it. False: no memory, and
  // the tree is as before.
  [[nodiscard]] bool store(PageIndex index, Entry entry);
  // Gives the entry that covers `index` another value of the same order; its marks stay. Returns the old value.
  Entry replace(PageIndex index, Entry entry);
  // The entry that covers `index` goes, with its marks.
  void erase(PageIndex index);
  // One entry in place of the smaller ones that fill its unit. A mark that one of them had is set. False: no memory,
  // and the tree is as before.
  [[nodiscard]] bool form(PageIndex index, Entry entry);
  void set_mark(PageIndex index, EntryMark mark);
  void clear_mark(PageIndex index, EntryMark mark);

  // Nodes in use; for tests. Needs the tree lock.
  std::size_t nodes() const { return nodes_; }
  // Names the first of X2..X4 that does not hold. Needs the tree lock.
  std::optional<const char*> check() const;

 private:
  using Word = std::uint64_t;
  static constexpr unsigned kStep = 6;
  static constexpr unsigned kSlots = 1U << kStep;
  static constexpr std::size_t kMarks = 3;

  struct Node {
    Node(unsigned node_shift, Node* node_parent, unsigned node_offset)
        : shift(static_cast<std::uint8_t>(node_shift)),
          offset(static_cast<std::uint8_t>(node_offset)),
          parent(node_parent) {}

    bool covers(std::uint64_t index) const { return index >> shift >> kStep == 0; }  // of the root
    unsigned offset_of(std::uint64_t index) const { return static_cast<unsigned>(index >> shift) & (kSlots - 1); }

    std::array<Atomic<Word>, kSlots> slots;
    const std::uint8_t shift;
    // The rest belongs to the tree lock.
    std::uint8_t offset;  // of this node in its parent
    std::uint8_t used = 0;
    Node* parent;
    std::array<std::uint64_t, kMarks> marks{};
  };
  struct Place {
    Node* node = nullptr;
    unsigned offset = 0;
  };

  static bool is_node(Word word) { return word != 0 && (word & 3U) == 0; }
  static bool is_entry(Word word) { return (word & 3U) == 1; }
  static bool is_sibling(Word word) { return (word & 3U) == 2; }
  static Node* as_node(Word word) { return reinterpret_cast<Node*>(word); }
  static Word as_word(const Node* node) { return reinterpret_cast<Word>(node); }
  static Word sibling_of(unsigned offset) { return Word{offset} << 2 | 2U; }
  static unsigned entry_offset(Word sibling) { return static_cast<unsigned>(sibling >> 2); }
  static unsigned shift_of(Order order) { return order.raw() / kStep * kStep; }
  static unsigned span_of(Order order) { return 1U << order.raw() % kStep; }

  // The lock is held, so nothing moves: an ordinary load.
  static Word peek(const Node& node, unsigned offset) { return node.slots[offset].load(std::memory_order_relaxed); }
  Place locate(PageIndex index) const;
  Node* make_node(unsigned shift, Node* parent, unsigned offset);
  void free_node(Node* node);
  bool grow(std::uint64_t last, unsigned shift);
  void prune(Node* node);
  void shrink();
  void raise_mark(Place place, std::size_t mark);
  void lower_mark(Place place, std::size_t mark);
  void discard(Node* node);
  static void destroy(Node* node);
  static std::optional<const char*> check_node(const Node& node);

  Atomic<Word> root_;
  std::size_t nodes_ = 0;
};

// Goes over the entries that overlap a range, in rising order. Lives within one holding of the tree lock, and is the
// only one who changes the tree meanwhile.
class XArray::Cursor {
 public:
  Cursor(XArray& array, PageRange range) : array_(array), position_(range.first.raw()), end_(range.end.raw()) {}

  // On to the next entry (with the mark). False: there is none, and the cursor stands nowhere.
  bool next() { return seek(nullptr); }
  bool next_marked(EntryMark mark) { return seek(&mark); }

  PageIndex index() const { return index_; }
  Entry entry() const { return entry_; }
  // The first page behind the entry: where a walk that stops here goes on.
  PageIndex behind() const { return index_ + entry_.order().pages(); }

  void replace(Entry entry);
  void erase();

 private:
  bool seek(const EntryMark* mark);
  static unsigned next_used(const Node& node, unsigned offset, const EntryMark* mark);

  XArray& array_;
  Node* node_ = nullptr;
  unsigned offset_ = 0;
  std::uint64_t position_;
  const std::uint64_t end_;
  PageIndex index_;
  Entry entry_;
};

// Both walks count the shift down by themselves: reading it from each node would put a second load in the chain.

[[gnu::always_inline]] inline Entry XArray::load(PageIndex index) const {
  for (;;) {
    // acquire: partner is the release that published the node.
    Word word = root_.load(std::memory_order_acquire);
    if (word == 0) return {};
    const Node* node = as_node(word);
    unsigned shift = node->shift;
    std::uint64_t position = index.raw() >> shift;
    if (position >= kSlots) return {};
    for (;;) {
      // seq_cst: partner is the exchange in replace; mapping.h has the argument.
      word = node->slots[position % kSlots].load(std::memory_order_seq_cst);
      if (is_entry(word)) [[likely]] {
        return Entry::from_raw(word);
      }
      if (!is_node(word)) break;
      node = as_node(word);
      shift -= kStep;
      position = index.raw() >> shift;
    }
    if (is_sibling(word)) {
      word = node->slots[entry_offset(word)].load(std::memory_order_seq_cst);
      // The unit went and smaller entries came between the two loads: what covers the index is another path.
      if (is_node(word)) continue;
    }
    return Entry::from_raw(word);
  }
}

inline unsigned XArray::load_run(PageIndex index, unsigned limit, std::array<Entry, kRun>& out) const {
  Word word = root_.load(std::memory_order_acquire);  // as in load
  if (word == 0 || !as_node(word)->covers(index.raw())) {
    out[0] = {};
    return 1;
  }
  const Node* node = as_node(word);
  for (unsigned shift = node->shift; shift != 0; shift -= kStep) {
    word = node->slots[(index.raw() >> shift) % kSlots].load(std::memory_order_acquire);
    if (!is_node(word)) {
      out[0] = load(index);
      return 1;
    }
    node = as_node(word);
  }
  const unsigned offset = static_cast<unsigned>(index.raw() % kSlots);
  const unsigned count = limit < kSlots - offset ? limit : kSlots - offset;
  for (unsigned i = 0; i < count; ++i) {
    out[i] = Entry::from_raw(node->slots[offset + i].load(std::memory_order_seq_cst));  // as in load
  }
  return count;
}

}  // namespace holdfast::mapping
