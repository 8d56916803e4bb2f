#include "cli/demo.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <holdfast/holdfast.h>
#include <algorithm>
#include <cerrno>
#include <future>
#include <optional>

#include "base/result.h"
#include "cli/slow_transfer.h"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t kPoolBytes = 16 * MiB;
constexpr std::uint64_t kTransferBytes = 64 * KiB;
constexpr std::byte kContentOfB{0xB0};
constexpr std::byte kFromDevice{0xDE};

// A pool that is full but for the blocks of A: whatever B gets, it gets from A. The program has A mapped.
struct Stage {
  Filesystem fs;
  File a;
  Window window;
};

Status fill_up(Filesystem& fs) {
  HF_ASSIGN(File filler, fs.open("/filler", Open::read_write | Open::create));
  std::uint64_t size = 0;
  for (std::uint64_t piece = kPoolBytes; piece >= 4 * KiB;) {
    if (filler.allocate(size, piece)) {
      size += piece;
    } else {
      piece /= 2;
    }
  }
  return {};
}

Result<Stage> set_stage() {
  HF_ASSIGN(Device device, Device::memory({.size = kPoolBytes}));
  HF_TRY(format(device, {}));
  HF_ASSIGN(Filesystem fs, Filesystem::mount(std::move(device)));
  HF_ASSIGN(File a, fs.open("/A", Open::read_write | Open::create));
  HF_TRY(a.allocate(0, kTransferBytes));
  HF_TRY(fill_up(fs));
  HF_TRY(fs.sync());
  HF_ASSIGN(Window window, a.map(0, kTransferBytes));
  return Stage{std::move(fs), std::move(a), std::move(window)};
}

// B with content of its own, in whatever blocks are free. ENOSPC: none are.
Result<File> make_b(Filesystem& fs) {
  HF_ASSIGN(File b, fs.open("/B", Open::read_write | Open::create));
  HF_TRY(b.allocate(0, kTransferBytes));
  const std::vector<std::byte> content(kTransferBytes, kContentOfB);
  HF_ASSIGN(const std::size_t written, b.write(0, content));
  if (written != content.size()) return Error(EIO, "/B", "short write");
  return b;
}

Result<std::uint64_t> overwritten_bytes(File& b) {
  HF_ASSIGN(const Window window, b.map(0, kTransferBytes, {.access = Access::read}));
  const std::span<const std::byte> content = window.bytes();
  return static_cast<std::uint64_t>(
      std::count_if(content.begin(), content.end(), [](std::byte byte) { return byte != kContentOfB; }));
}

// As a driver does it: from an address of the program's.
Result<Pin> pin_for_device(Stage& stage) {
  HF_ASSIGN(Pin pin, stage.fs.pin_address(stage.window.data(), kTransferBytes,
                                          {.access = Access::write, .purpose = "demo transfer"}));
  if (pin.segments().size() != 1) return Error(EIO, "/A", "the transfer's bytes are not in one piece");
  return pin;
}

// A's window after the truncate: a touch would be SIGBUS.
Status expect_nothing_shown(Stage& stage, DemoArm& arm) {
  const Result<Pin> pin = stage.fs.pin_address(stage.window.data(), 1);
  if (pin || pin.error().code() != ENXIO) return Error(EIO, "/A", "its window shows something past the end");
  arm.steps.emplace_back("A's window shows nothing any more");
  return {};
}

std::span<std::byte> target_of(const Pin& pin) { return {pin.segments()[0].address, kTransferBytes}; }

// The program that does not count: it knows the address, and nothing keeps the storage behind it.
Result<DemoArm> without_counting() {
  DemoArm arm{.name = "no page counting", .transferred = kTransferBytes};
  HF_ASSIGN(Stage stage, set_stage());
  std::span<std::byte> target;
  {
    HF_ASSIGN(const Pin pin, pin_for_device(stage));
    target = target_of(pin);
  }
  HF_ASSIGN(SlowTransfer transfer, SlowTransfer::start(target));
  arm.steps.emplace_back("a device begins to write into A, at an address of A's window; nobody counts that");
  HF_TRY(stage.a.truncate(0));
  HF_TRY(stage.fs.sync());
  arm.steps.emplace_back("A is truncated at once, its blocks are free");
  HF_TRY(expect_nothing_shown(stage, arm));
  HF_ASSIGN(File b, make_b(stage.fs));
  arm.steps.emplace_back("B gets those blocks and its own content");
  HF_TRY(transfer.finish(kFromDevice));
  HF_ASSIGN(arm.overwritten, overwritten_bytes(b));
  arm.steps.push_back(fmt::format("the device finishes: {} bytes of B are overwritten", arm.overwritten));
  return arm;
}

// B must not be had while the transfer runs, and must be whole after it.
Status expect_no_space(Filesystem& fs, DemoArm& arm) {
  HF_TRY(fs.sync());
  const Result<File> too_early = make_b(fs);
  if (too_early) return Error(EIO, "/B", "got blocks that a device still writes to");
  if (too_early.error().code() != ENOSPC) return too_early.error();
  arm.steps.emplace_back("B asks for space: none is free yet");
  return {};
}

Status finish_with_b(Stage& stage, DemoArm& arm) {
  HF_TRY(stage.fs.sync());
  HF_ASSIGN(File b, make_b(stage.fs));
  HF_ASSIGN(arm.overwritten, overwritten_bytes(b));
  arm.steps.push_back(fmt::format("B gets the blocks now: {} bytes of B are overwritten", arm.overwritten));
  return {};
}

Result<DemoArm> with_wait() {
  DemoArm arm{.name = "wait", .transferred = kTransferBytes};
  HF_ASSIGN(Stage stage, set_stage());
  HF_ASSIGN(Pin pin, pin_for_device(stage));
  HF_ASSIGN(SlowTransfer transfer, SlowTransfer::start(target_of(pin)));
  arm.steps.emplace_back("a device begins to write into A's window, pinned as \"demo transfer\"");
  std::promise<Status> truncated;
  std::future<Status> outcome = truncated.get_future();
  HF_TRY(stage.a.truncate_async(0, {}, [&truncated](Status status) { truncated.set_value(std::move(status)); }));
  stage.window.data()[0] = kFromDevice;
  arm.steps.push_back(fmt::format("truncate waits; A still has {} bytes, and its window takes stores", stage.a.size()));
  HF_TRY(expect_no_space(stage.fs, arm));
  HF_TRY(transfer.finish(kFromDevice));
  pin.release();
  HF_TRY(outcome.get());
  arm.steps.push_back(fmt::format("the device finishes and unpins; truncate ends; A has {} bytes", stage.a.size()));
  HF_TRY(expect_nothing_shown(stage, arm));
  HF_TRY(finish_with_b(stage, arm));
  return arm;
}

Result<DemoArm> with_fail() {
  DemoArm arm{.name = "fail", .transferred = kTransferBytes};
  HF_ASSIGN(Stage stage, set_stage());
  HF_ASSIGN(Pin pin, pin_for_device(stage));
  HF_ASSIGN(SlowTransfer transfer, SlowTransfer::start(target_of(pin)));
  arm.steps.emplace_back("a device begins to write into A's window, pinned as \"demo transfer\"");
  const Status refused = stage.a.truncate(0, {.on_pinned = OnPinned::fail});
  if (refused) return Error(EIO, "/A", "truncated under a pin");
  arm.steps.push_back("truncate fails: " + refused.error().message());
  HF_TRY(expect_no_space(stage.fs, arm));
  HF_TRY(transfer.finish(kFromDevice));
  pin.release();
  HF_TRY(stage.a.truncate(0, {.on_pinned = OnPinned::fail}));
  arm.steps.emplace_back("the device finishes and unpins; truncate succeeds");
  HF_TRY(finish_with_b(stage, arm));
  return arm;
}

// Waits until nothing is in quarantine.
Status wait_until_drained(Filesystem& fs) {
  const int event = eventfd(0, EFD_CLOEXEC);
  if (event < 0) return Error(errno, "eventfd", "");
  Status armed = fs.drain(event);
  std::uint64_t count = 0;
  if (armed && read(event, &count, sizeof count) != sizeof count) armed = Error(errno, "eventfd", "");
  close(event);
  return armed;
}

Result<DemoArm> with_detach() {
  DemoArm arm{.name = "detach", .transferred = kTransferBytes};
  HF_ASSIGN(Stage stage, set_stage());
  HF_ASSIGN(Pin pin, pin_for_device(stage));
  HF_ASSIGN(SlowTransfer transfer, SlowTransfer::start(target_of(pin)));
  arm.steps.emplace_back("a device begins to write into A's window, pinned as \"demo transfer\"");
  HF_TRY(stage.a.truncate(0, {.on_pinned = OnPinned::detach}));
  arm.steps.push_back(fmt::format("truncate returns at once: A has {} bytes, {} bytes are in quarantine",
                                  stage.a.size(), stage.fs.space().quarantined));
  HF_TRY(expect_nothing_shown(stage, arm));
  HF_TRY(expect_no_space(stage.fs, arm));
  HF_TRY(transfer.finish(kFromDevice));
  pin.release();
  HF_TRY(wait_until_drained(stage.fs));
  arm.steps.emplace_back("the device finishes and unpins; the quarantine is empty");
  HF_TRY(finish_with_b(stage, arm));
  return arm;
}

}  // namespace

Result<std::vector<DemoArm>> run_demo() {
  std::vector<DemoArm> arms;
  for (const auto arm : {without_counting, with_wait, with_fail, with_detach}) {
    HF_ASSIGN(DemoArm shown, arm());
    arms.push_back(std::move(shown));
  }
  return arms;
}

}  // namespace holdfast::cli
