#include "device/bus_error.h"

#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "base/check.h"
#include "base/mutex.h"
#include "base/trace.h"
#include "device/copy.h"
#include "device/copy_loops.h"

namespace holdfast::device {

// A range as the signal handler reads it, without a lock. Plain std::atomic: the handler must not enter a test
// scheduler.
//
// S1: begin is 0 exactly while the slot is free or being filled.
// S2: a length that is read between two equal, non-zero reads of begin is a length that belonged to that begin.
//     Filling stores length (release) while begin is 0 and then begin (release); freeing stores 0. A reader that sees
//     the new length (acquire) therefore sees begin 0 or newer in its second read, so either the second read differs
//     and the slot is passed over, or the length is the old one and was true when the walk began. Test:
//     BusError.RangesComeAndGoWhileOthersFault.
struct BusErrorRange::Slot {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::size_t> length{0};

  bool contains(std::uintptr_t address) const {
    const std::uintptr_t first = begin.load(std::memory_order_acquire);  // pairs with fill: begin
    if (first == 0) return false;
    const std::size_t bytes = length.load(std::memory_order_acquire);  // pairs with fill: length
    const std::uintptr_t again = begin.load(std::memory_order_relaxed);
    return first == again && address >= first && address - first < bytes;
  }
  void fill(std::uintptr_t first, std::size_t bytes) {
    length.store(bytes, std::memory_order_release);
    begin.store(first, std::memory_order_release);
  }
  void free() { begin.store(0, std::memory_order_relaxed); }
};

// Slots in blocks that are only ever added, so that the handler walks them without protection.
struct BusErrorRanges {
  struct Block {
    std::array<BusErrorRange::Slot, 32> slots;
    std::atomic<Block*> next{nullptr};
  };

  Mutex mutex{LockRank::leaf};  // adding and removing; the handler never takes it
  Block first;

  bool contain(std::uintptr_t address) const {
    for (const Block* block = &first; block != nullptr;
         block = block->next.load(std::memory_order_acquire)) {  // pairs with take_slot
      for (const BusErrorRange::Slot& slot : block->slots) {
        if (slot.contains(address)) return true;
      }
    }
    return false;
  }

  BusErrorRange::Slot* take_slot(std::uintptr_t begin, std::size_t length) {
    const MutexLock lock(mutex);
    for (Block* block = &first;;) {
      for (BusErrorRange::Slot& slot : block->slots) {
        if (slot.begin.load(std::memory_order_relaxed) != 0) continue;
        slot.fill(begin, length);
        return &slot;
      }
      Block* next = block->next.load(std::memory_order_relaxed);
      if (next == nullptr) {
        next = new Block;
        block->next.store(next, std::memory_order_release);  // pairs with contain
      }
      block = next;
    }
  }

  void free_slot(BusErrorRange::Slot* slot) {
    const MutexLock lock(mutex);
    slot->free();
  }
};

namespace {

// Written in the handler of this very thread. initial-exec: it must not be allocated there.
constinit thread_local BusError met __attribute__((tls_model("initial-exec")));

BusErrorRanges& ranges() {
  static BusErrorRanges* instance = new BusErrorRanges;  // never destroyed: a fault may come during exit
  return *instance;
}

// Written once, before the handler that reads them is installed.
const BusErrorRanges* handler_ranges = nullptr;
struct sigaction previous_action {};
std::atomic<bool> previous_was_reset{false};
std::atomic<TouchServer> touch_server{nullptr};

// A fault of the running instruction, as opposed to a signal that somebody sent or an early warning of the hardware.
bool is_synchronous(const siginfo_t& info) { return info.si_code > 0 && info.si_code != BUS_MCEERR_AO; }

// The default action, as if this handler had never been: the process ends by SIGBUS.
void end_by_default(int signal_number, const siginfo_t& info) {
  struct sigaction default_action {};
  default_action.sa_handler = SIG_DFL;
  sigaction(signal_number, &default_action, nullptr);
  // The faulting instruction runs again and ends the process; a signal that was sent must be sent again.
  if (!is_synchronous(info)) raise(signal_number);
}

void pass_on(int signal_number, siginfo_t* info, void* context) {
  const struct sigaction& action = previous_action;
  const bool takes_info = (action.sa_flags & SA_SIGINFO) != 0;
  if (!takes_info && action.sa_handler == SIG_IGN) {
    if (is_synchronous(*info)) end_by_default(signal_number, *info);  // the kernel does not let a fault be ignored
    return;
  }
  const auto one_shot = static_cast<unsigned>(action.sa_flags) & static_cast<unsigned>(SA_RESETHAND);
  const bool used_up = one_shot != 0 && previous_was_reset.exchange(true, std::memory_order_relaxed);
  if (used_up || (!takes_info && action.sa_handler == SIG_DFL)) {
    end_by_default(signal_number, *info);
    return;
  }
  // The mask that the kernel would have set for it; returning from our handler restores the interrupted one.
  sigset_t blocked = static_cast<const ucontext_t*>(context)->uc_sigmask;
  sigorset(&blocked, &blocked, &action.sa_mask);
  if ((action.sa_flags & SA_NODEFER) == 0) sigaddset(&blocked, signal_number);
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  if (takes_info) {
    action.sa_sigaction(signal_number, info, context);
  } else {
    action.sa_handler(signal_number);
  }
}

bool served(const siginfo_t& info, const mcontext_t& machine) {
  constexpr greg_t kPageFaultWrite = 2;  // of the error code that x86 gives
  // acquire: partner is the store in serve_bus_errors.
  const TouchServer server = touch_server.load(std::memory_order_acquire);
  if (server == nullptr || info.si_code != BUS_ADRERR) return false;
  const int kept = errno;
  const bool again = server(static_cast<std::byte*>(info.si_addr), (machine.gregs[REG_ERR] & kPageFaultWrite) != 0);
  errno = kept;
  return again;
}

void on_bus_error(int signal_number, siginfo_t* info, void* context) {
  auto* machine = &static_cast<ucontext_t*>(context)->uc_mcontext;
  if (served(*info, *machine)) return;
  const auto instruction = static_cast<std::uintptr_t>(machine->gregs[REG_RIP]);
  const std::uintptr_t landing = copy_loop_landing(instruction);
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  if (landing != 0 && is_synchronous(*info) && handler_ranges->contain(address)) {
    HF_TRACE2(device_bus_error, address, instruction);
    met = {static_cast<const std::byte*>(info->si_addr), info->si_code == BUS_MCEERR_AR};
    machine->gregs[REG_RIP] = static_cast<greg_t>(landing);
    return;
  }
  pass_on(signal_number, info, context);
}

bool install() {
  handler_ranges = &ranges();
  // The old handler must be known before ours can be entered: a foreign SIGBUS may come at once.
  HF_CHECK(sigaction(SIGBUS, nullptr, &previous_action) == 0, "sigaction(SIGBUS) cannot be read");
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  // NODEFER: a fault in our handler, or the previous one, is delivered, not deadly. ONSTACK: a handler that guards
  // against stack overflow keeps its stack.
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (const int raised : {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGSYS}) sigdelset(&action.sa_mask, raised);
  HF_CHECK(sigaction(SIGBUS, &action, nullptr) == 0, "sigaction(SIGBUS) cannot be set");
  return true;
}

void install_once() { [[maybe_unused]] static const bool installed = install(); }

}  // namespace

BusError last_bus_error() noexcept { return met; }

void serve_bus_errors(TouchServer server) {
  install_once();
  // release: partner is the load in served.
  touch_server.store(server, std::memory_order_release);
}

BusErrorRange::BusErrorRange(const void* begin, std::size_t length) {
  install_once();
  slot_ = ranges().take_slot(reinterpret_cast<std::uintptr_t>(begin), length);
}

BusErrorRange::~BusErrorRange() { ranges().free_slot(slot_); }

}  // namespace holdfast::device
