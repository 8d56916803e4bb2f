// Who holds what: the questions of pin_table.h that a scan of every slot answers.
#include <fcntl.h>
#include <unistd.h>

#include <limits>
#include <optional>
#include <string>

#include "base/mark.h"
#include "pagemap/pin_table_registry.h"

namespace holdfast::pagemap {
namespace {

// A held pin as a scan finds it.
struct HeldPin {
  PinIdentity identity;
  Nanoseconds since{};
  std::uint32_t tid = 0;
  PinTable* table = nullptr;

  bool this_thread() const { return table == detail::own_table; }
};

// What the slot shows, if it is held and stays so while it is read.
std::optional<HeldPin> read_slot(const PinSlot& slot) {
  // acquire: partner is confirm_slot. The acquires that follow: T2.
  const std::uint32_t state = slot.state.load(std::memory_order_acquire);
  if ((state & PinSlot::kLifeMask) != PinSlot::kHeld) return std::nullopt;
  constexpr auto acquire = std::memory_order_acquire;
  HeldPin pin;
  pin.tid = slot.tid.load(acquire);
  const std::uint64_t file = slot.file.load(acquire);
  pin.identity.file = {static_cast<std::uint32_t>(file), static_cast<std::uint32_t>(file >> 32)};
  HF_MARK("pin_table.reading");
  pin.identity.offset = slot.offset.load(acquire);
  pin.identity.length = slot.length.load(acquire);
  pin.identity.purpose = slot.purpose.load(acquire);
  pin.identity.deadline = Nanoseconds(slot.deadline.load(acquire));
  pin.since = Nanoseconds(slot.since.load(acquire));
  if (slot.state.load(std::memory_order_relaxed) != state) return std::nullopt;
  pin.identity.access = (state & PinSlot::kWrites) != 0 ? Access::write : Access::read;
  pin.identity.released_elsewhere = (state & PinSlot::kReleasedElsewhere) != 0;
  return pin;
}

// Calls visit(pin) for every held pin of the table until it returns false.
template <typename Visit>
bool visit_table(PinTable& table, const Visit& visit) {
  for (PinChunk* chunk = table.chunks.load(std::memory_order_acquire); chunk != nullptr; chunk = chunk->next) {
    // acquire: partner is the store in take_slot_slowly.
    const std::uint32_t used = chunk->used.load(std::memory_order_acquire);
    for (std::uint32_t position = 0; position < used; ++position) {
      std::optional<HeldPin> pin = read_slot(chunk->slots()[position]);
      if (!pin) continue;
      pin->table = &table;
      if (!visit(*pin)) return false;
    }
  }
  return true;
}

template <typename Visit>
void visit_process(const Visit& visit) {
  for (PinTable* table = PinTableRegistry::of_process().tables.load(std::memory_order_acquire); table != nullptr;
       table = table->next) {
    if (!visit_table(*table, visit)) return;
  }
}

bool overlaps(const PinIdentity& pin, std::uint64_t offset, std::uint64_t length) {
  const auto end = [](std::uint64_t from, std::uint64_t count) {
    return count > std::numeric_limits<std::uint64_t>::max() - from ? std::numeric_limits<std::uint64_t>::max()
                                                                    : from + count;
  };
  return pin.offset < end(offset, length) && offset < end(pin.offset, pin.length);
}

// A thread may change its name at any time: the kernel knows the current one as long as the thread lives.
std::optional<std::string> current_name(std::uint32_t tid) {
  const int file = open(fmt::format("/proc/self/task/{}/comm", tid).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  ThreadName name{};
  const ssize_t length = read(file, name.data(), name.size());
  close(file);
  if (length <= 0) return std::nullopt;
  return std::string(name.data(), static_cast<std::size_t>(length - 1));  // without the line's end
}

std::string name_of_taker(const HeldPin& pin) {
  std::string recorded;
  bool lives = false;
  {
    const MutexLock lock(PinTableRegistry::of_process().mutex);
    const auto& table = static_cast<const RegisteredTable&>(*pin.table);
    if (table.tid != pin.tid) return {};  // released since, and the table has another thread
    recorded = table.name.data();
    lives = !table.ended;
  }
  return lives ? current_name(pin.tid).value_or(recorded) : recorded;
}

std::vector<Holder> describe(const std::vector<HeldPin>& pins) {
  std::vector<Holder> holders;
  holders.reserve(pins.size());
  for (const HeldPin& pin : pins) {
    holders.push_back({.identity = pin.identity,
                       .since = pin.since,
                       .pid = getpid(),
                       .tid = static_cast<std::int32_t>(pin.tid),
                       .thread_name = name_of_taker(pin),
                       .this_thread = pin.this_thread()});
  }
  return holders;
}

template <typename Matches>
std::vector<Holder> holders_that(const Matches& matches, std::size_t limit) {
  std::vector<HeldPin> found;
  if (limit == 0) return {};
  visit_process([&](const HeldPin& pin) {
    if (matches(pin.identity)) found.push_back(pin);
    return found.size() < limit;
  });
  return describe(found);
}

}  // namespace

std::vector<Holder> holders_of(FileKey file, std::uint64_t offset, std::uint64_t length, std::size_t limit) {
  return holders_that([=](const PinIdentity& pin) { return pin.file == file && overlaps(pin, offset, length); }, limit);
}

std::vector<Holder> holders_of_filesystem(std::uint32_t filesystem, std::size_t limit) {
  return holders_that([=](const PinIdentity& pin) { return pin.file.filesystem == filesystem; }, limit);
}

bool this_thread_holds(FileKey file) {
  if (detail::own_table == nullptr) return false;
  return !visit_table(*detail::own_table, [file](const HeldPin& pin) {
    return pin.identity.file != file || pin.identity.released_elsewhere;
  });
}

bool only_this_thread_holds(FileKey file, std::uint64_t offset, std::uint64_t length) {
  bool any = false;
  bool only = true;
  visit_process([&](const HeldPin& pin) {
    if (pin.identity.file != file || !overlaps(pin.identity, offset, length)) return true;
    any = true;
    only = pin.this_thread() && !pin.identity.released_elsewhere;
    return only;
  });
  return any && only;
}

}  // namespace holdfast::pagemap
