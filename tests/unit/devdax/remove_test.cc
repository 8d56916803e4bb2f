// Goal: remove() ends a device in order: nothing new, nothing shown, pins drained, memory gone. What it cannot finish
// it says by name, and what outlives it is safe. Method: every unit size on every carrier; touches end as bus errors;
// the same file is opened again, here and in another process. AddressSanitizer sees what touches freed memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "support/child.h"
#include "support/mark_stop.h"
#include "support/task.h"
#include "unit/devdax/raw_bed.h"

namespace holdfast::devdax {
namespace {

using std::chrono::milliseconds;
using test::MarkCount;
using test::Task;
using testing::HasSubstr;

class RawRemove : public RawBed, public ::testing::WithParamInterface<RawSetting> {
 protected:
  void SetUp() override { open(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Everywhere, RawRemove, testing::ValuesIn(kRawSettings),
                         [](const auto& each) { return name_of(each.param); });

TEST_P(RawRemove, WhatWasShownIsABusError) {
  const std::uint64_t unit = unit_bytes();
  Shown touched = show(0, unit);
  const Shown untouched = show(unit, unit);
  touched.data()[1] = std::byte{1};
  EXPECT_TRUE(remove());
  expect_dead(touched.data());
  expect_dead(touched.data() + unit - 1);
  expect_dead(untouched.data() + unit / 2);
  EXPECT_EQ(core()->window(), nullptr);
  // The objects end as ever, in any order with the device.
  touched.end();
  core().reset();
  expect_dead(untouched.data());
}

TEST_P(RawRemove, NothingNewBegins) {
  EXPECT_TRUE(remove());
  EXPECT_EQ(code_of(try_map(0, unit_bytes())), ENODEV);
  EXPECT_EQ(code_of(pin_at(0, 1)), ENODEV);
  EXPECT_EQ(code_of(try_pin(*core(), 0, 1, {})), ENODEV);
  EXPECT_EQ(code_of(core()->track({PageIndex(0), PageIndex(1)}, Access::read)), ENODEV);
  EXPECT_EQ(code_of(core()->sync({PageIndex(0), PageIndex(1)})), ENODEV);
  std::byte byte{};
  EXPECT_EQ(core()->load(0, {&byte, 1}).value(), 0U);
  EXPECT_TRUE(remove()) << "a second time";
}

TEST_P(RawRemove, WaitsForThePin) {
  const std::uint64_t unit = unit_bytes();
  const Shown window = show(unit, unit);
  window.data()[7] = std::byte{'x'};
  std::optional<Pin> held = pin_at(unit, unit, "nic").value();
  MarkCount sleeps("layout.break.sleeps");
  Task remover([&] { return code_of(remove()); });
  ASSERT_TRUE(sleeps.wait_until(1));
  // The windows are dead and nothing new enters, before the pin goes; the pin's memory is there.
  expect_dead(window.data() + 7);
  EXPECT_EQ(code_of(pin_at(unit, 1)), ENODEV);
  EXPECT_EQ(code_of(try_map(0, unit)), ENODEV);
  EXPECT_EQ(held->segments()[0].address[7], std::byte{'x'});
  held->segments()[0].address[8] = std::byte{'y'};
  EXPECT_FALSE(remover.done());
  held.reset();
  EXPECT_EQ(remover.get(), 0);
  EXPECT_EQ(core()->pages().references(), 0U);
}

TEST_P(RawRemove, TheDeadlineNamesTheHolder) {
  Shown window = show(0, unit_bytes());
  std::optional<Pin> held;
  std::thread([&] { held = pin_at(5, 10, "rdma write").value(); }).join();
  const Status late = remove(milliseconds(20));
  ASSERT_EQ(code_of(late), ETIMEDOUT);
  EXPECT_THAT(late.error().message(), HasSubstr(core()->name()));
  EXPECT_THAT(late.error().message(), HasSubstr("\"rdma write\" by pid"));
  EXPECT_THAT(late.error().message(), HasSubstr("bytes [5, 15)"));
  // What was done stays done, and the pinned memory stays.
  expect_dead(window.data());
  EXPECT_EQ(code_of(pin_at(0, 1)), ENODEV);
  held->segments()[0].address[0] = std::byte{1};
  EXPECT_EQ(code_of(remove(milliseconds(1))), ETIMEDOUT);
  held.reset();
  EXPECT_TRUE(remove());
}

TEST_P(RawRemove, AThreadDoesNotWaitForItself) {
  std::optional<Pin> own = pin_at(0, 1, "mine").value();
  const Status refused = remove();
  ASSERT_EQ(code_of(refused), EDEADLK);
  EXPECT_THAT(refused.error().message(), HasSubstr("mine"));
  own.reset();
  EXPECT_TRUE(remove());
}

TEST_P(RawRemove, APinThatAnotherThreadReleasesIsWaitedFor) {
  std::optional<Pin> handed = pin_at(0, 1, "handed over", true).value();
  MarkCount sleeps("layout.break.sleeps");
  Task releaser([&] {
    const bool seen = sleeps.wait_until(1);
    handed.reset();
    return seen;
  });
  EXPECT_TRUE(remove());
  EXPECT_TRUE(releaser.get());
}

TEST_P(RawRemove, TheLastPinKeepsTheMemory) {
  const std::uint64_t unit = unit_bytes();
  std::optional<Pin> held = pin_at(unit - 1, 2).value();
  std::byte* const address = held->segments()[0].address;
  std::optional<Shown> window = show(0, unit);
  core().reset();  // does not wait
  window->data()[0] = std::byte{1};
  window.reset();
  *address = std::byte{2};
  MarkCount drained("devdax.drained");
  held.reset();
  EXPECT_TRUE(drained.wait_until(1));
}

TEST_F(RawBed, ASignalEndsTheWait) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  open({});
  std::optional<Pin> held = pin_at(0, 1).value();
  MarkCount sleeps("layout.break.sleeps");
  Task remover([&] { return code_of(remove()); });
  ASSERT_TRUE(sleeps.wait_until(1));
  while (!remover.done()) {  // the first may come before it sleeps
    pthread_kill(remover.handle(), SIGUSR1);
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(remover.get(), EINTR);
  EXPECT_EQ(code_of(pin_at(0, 1)), ENODEV);
  held.reset();
  EXPECT_TRUE(remove());
  sigaction(SIGUSR1, &before, nullptr);
}

// What the program gave up of a window stays given up.
TEST_F(RawBed, AnUnmappedPartStaysSo) {
  open({});
  const Shown window = show(0, 64 * KiB);
  ASSERT_TRUE(core()->windows().give_up(window.view(), {PageIndex(4), PageIndex(8)}));
  EXPECT_TRUE(remove());
  EXPECT_TRUE(test::dies_of_segmentation(window.data() + 16 * KiB));
  expect_dead(window.data());
  expect_dead(window.data() + 32 * KiB);
}

// A rebind: the same file at once, while the old objects still exist.
TEST_F(RawBed, TheSamePathOpensAgain) {
  open({Carriage::tmpfs_file, kOrder2M, ServeFaults::thread});
  Shown old_window = show(0, 2 * MiB);
  put(old_window.data(), "kept");
  const std::shared_ptr<Core> old_core = core();
  EXPECT_EQ(device::Device::open(path(), device::OpenMode::read_write).error().code(), EBUSY);
  ASSERT_TRUE(remove());
  open_again();
  Shown window = show(0, 2 * MiB);
  EXPECT_EQ(text(window.data(), 4), "kept");
  EXPECT_EQ(count(0).tracked(), 1U);
  expect_dead(old_window.data());
  old_window.end();
  const Pin held = pin_at(0, 1).value();
  EXPECT_EQ(count(0).pins(), 1U);
  EXPECT_TRUE(old_core->remove(Deadline::never()));
  window.data()[0] = std::byte{'K'};
}

TEST_F(RawBed, AnotherProcessOpensItAfterwards) {
  open({Carriage::tmpfs_file, kOrder4K, ServeFaults::thread});
  put(core()->window(), "kept");
  ASSERT_TRUE(remove());
  const test::ChildEnd end = test::run_in_child([this]() -> std::string {
    Result<std::unique_ptr<device::Device>> device = device::Device::open(path(), device::OpenMode::read_write);
    if (!device) return device.error().message();
    return text((*device)->window(), 4) == "kept" ? "" : "other bytes";
  });
  EXPECT_EQ(end.message, "");
  EXPECT_TRUE(end.exited);
}

TEST_F(RawBed, AChildHasAnInertDevice) {
  open({});
  const test::ChildEnd end = test::run_in_child([this]() -> std::string {
    if (code_of(pin_at(0, 1)) != ECHILD) return "pin";
    if (code_of(try_map(0, 4096)) != ECHILD) return "map";
    if (code_of(remove()) != ECHILD) return "remove";
    core().reset();
    return "";
  });
  EXPECT_EQ(end.message, "");
  EXPECT_TRUE(pin_at(0, 1));
}

// Two at once: both return when the memory is gone.
TEST_F(RawBed, TwoThreadsRemove) {
  open({Carriage::tmpfs_file, kOrder4K, ServeFaults::thread});
  std::optional<Pin> held = pin_at(0, 1).value();
  MarkCount sleeps("layout.break.sleeps");
  const auto remove_and_open = [this] {
    const int code = code_of(remove());
    return code != 0 ? code : code_of(device::Device::open(path(), device::OpenMode::read_only));
  };
  Task one(remove_and_open);
  Task two(remove_and_open);
  ASSERT_TRUE(sleeps.wait_until(2));
  held.reset();
  EXPECT_EQ(one.get(), 0);
  EXPECT_EQ(two.get(), 0);
}

}  // namespace
}  // namespace holdfast::devdax
