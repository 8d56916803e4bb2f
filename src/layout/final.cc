#include "layout/final.h"

#include "base/check.h"
#include "base/mark.h"
#include "layout/lease.h"

namespace holdfast::layout {

void forget_entries(mapping::Mapping& mapping) {
  constexpr PageRange kEverything{PageIndex(0), kEndOfFile};
  if (mapping.entry_pages().raw() == 0) return;
  const bool quiet = mapping.close_gate(kEverything, Nanoseconds(0));
  HF_DEBUG_CHECK(quiet, "inode {}: a copy is in progress without a handle", mapping.file().inode);
  static_cast<void>(quiet);
  static_cast<void>(mapping.zap(kEverything));
  HF_MARK("layout.forget.zapped");
  mapping.remove(kEverything);
  mapping.open_gate(kEverything);
}

Tellings break_final(mapping::Mapping& mapping) {
  Tellings ended = end_leases(mapping);
  forget_entries(mapping);
  return ended;
}

}  // namespace holdfast::layout
