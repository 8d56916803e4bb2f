// A hash index that lives in a file as memory: readers look keys up through a window while the writer throws the index
// away and grows it again. No reader ever sees bytes of another file, and none waits for the writer.
#include <holdfast/holdfast.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

namespace hf = holdfast;

namespace {

constexpr std::uint64_t kSlots = 1U << 18;  // 4 MiB
constexpr std::uint64_t kBytes = kSlots * 16;

// Key 0: empty. The value is stored first, so that a key that is seen has its value.
struct Slot {
  std::atomic<std::uint64_t> key;
  std::atomic<std::uint64_t> value;
};
static_assert(sizeof(Slot) == 16);

class Index {
 public:
  explicit Index(const hf::Window& window) : slots_(reinterpret_cast<Slot*>(window.data())) {}

  void add(std::uint64_t key, std::uint64_t value) const {
    for (std::uint64_t at = key * 0x9e3779b97f4a7c15U % kSlots;; at = (at + 1) % kSlots) {
      if (slots_[at].key.load(std::memory_order_relaxed) != 0) continue;
      slots_[at].value.store(value, std::memory_order_relaxed);
      slots_[at].key.store(key, std::memory_order_release);
      return;
    }
  }
  // 0: not there. An index that is being thrown away reads as empty.
  std::uint64_t find(std::uint64_t key) const {
    for (std::uint64_t at = key * 0x9e3779b97f4a7c15U % kSlots;; at = (at + 1) % kSlots) {
      const std::uint64_t found = slots_[at].key.load(std::memory_order_acquire);
      if (found == key) return slots_[at].value.load(std::memory_order_relaxed);
      if (found == 0) return 0;
    }
  }

 private:
  Slot* slots_;
};

std::uint64_t value_of(std::uint64_t key) { return key * 3 + 1; }

}  // namespace

int main() {
  auto device = hf::Device::memory({.size = 64 * hf::MiB}).value();
  hf::format(device, {}).value();
  auto fs = hf::Filesystem::mount(std::move(device)).value();
  std::uint64_t found = 0;
  std::atomic<std::uint64_t> wrong{0};
  {
    auto file = fs.open("/index", hf::Open::read_write | hf::Open::create).value();
    file.truncate(kBytes).value();
    const hf::Window window = file.map(0, kBytes).value();
    const Index index(window);

    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> hits{0};
    std::vector<std::thread> readers;
    for (std::uint64_t reader = 0; reader < 2; ++reader) {
      readers.emplace_back([&, reader] {
        for (std::uint64_t key = reader + 1; !stop.load(); key = key % 2000 + 1) {
          // A value of 0 is one that the punch took between the two loads.
          const std::uint64_t value = index.find(key);
          if (value == 0) continue;
          (value == value_of(key) ? hits : wrong).fetch_add(1);
        }
      });
    }
    for (int round = 0; round < 5; ++round) {
      for (std::uint64_t key = 1; key <= 2000; ++key) index.add(key, value_of(key));
      std::this_thread::yield();
      file.punch(0, kBytes).value();  // empty again: zeros, and no blocks
    }
    for (std::uint64_t key = 1; key <= 2000; ++key) index.add(key, value_of(key));
    stop.store(true);
    for (std::thread& reader : readers) reader.join();
    found = hits.load();
    for (std::uint64_t key = 1; key <= 2000; ++key) wrong.fetch_add(index.find(key) == value_of(key) ? 0 : 1);
    file.truncate(0).value();
  }
  std::printf("%llu look-ups found their key, %llu found something else\n", static_cast<unsigned long long>(found),
              static_cast<unsigned long long>(wrong.load()));
  fs.unmount().value();
  return wrong.load() == 0 ? 0 : 1;
}
