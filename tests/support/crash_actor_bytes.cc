// Bytes of files.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <vector>

#include "base/units.h"
#include "filesystem/core.h"
#include "support/crash_actor.h"

namespace holdfast::test {
namespace {

constexpr std::uint64_t kWordBytes = sizeof(Word);

Status status_of(const auto& result) { return result ? Status() : Status(result.error()); }

}  // namespace

CrashActor::Words CrashActor::some_words() {
  // Whole pages mostly, anything else too.
  const std::uint64_t first = below(kPages);
  if (!one_in(3)) return {first * kPageWords, std::min(kPages, first + 1 + below(one_in(4) ? 32 : 5)) * kPageWords};
  const std::uint64_t from = first * kPageWords + below(kPageWords);
  return {from, std::min(kPages * kPageWords, from + 1 + below(2 * kPageWords))};
}

BreakOptions CrashActor::policy() { return {.on_pinned = one_in(3) ? OnPinned::fail : OnPinned::detach}; }

void CrashActor::fill_buffer(std::uint32_t number, Words words, std::uint32_t generation) {
  buffer_.clear();
  for (std::uint64_t word = words.from; word < words.to; ++word) {
    buffer_.push_back(Stamp{number, static_cast<std::uint32_t>(word / kPageWords), generation}.word());
  }
}

std::string CrashActor::on_file() {
  const std::optional<std::string> path = some_path(true);
  if (!path) return create(new_path());
  const std::uint32_t number = model_.get().now().at(*path);
  if (model_.get().symlinks.contains(number)) return {};
  if (!open_.contains(number)) {
    Result<File> file = fs_->open(*path, Open::read_write);
    if (!file) return ended("open", file.error(), {});
    open_.emplace(number, std::move(*file));
  }
  File& file = open_.at(number);
  if (mix_ == CrashMix::churn && one_in(2)) return churn(number, file);
  if (mix_ == CrashMix::updates && one_in(2)) return update(number, file);
  if (mix_ == CrashMix::losses && one_in(3)) return lose(number, file);
  switch (below(20)) {
    case 0:
    case 1:
      return append(number, file);
    case 2:
    case 3:
      return truncate(number, file, one_in(4) ? 0 : some_words().from);
    case 4:
    case 5:
      return punch(number, file);
    case 6:
      return allocate(number, file);
    case 7:
      return show(number, file);
    case 8:
    case 9:
      return pin(number, file);
    case 10:
    case 11:
      return sync_file(number, file, one_in(2));
    case 12:
      return update(number, file);
    case 13:
      if (one_in(2)) return churn(number, file);
      return write(number, file, {0, kPages * kPageWords});
    case 14:
      open_.erase(number);  // what it left unrecorded is told now
      return {};
    default:
      return write(number, file, some_words());
  }
}

std::string CrashActor::write(std::uint32_t number, File& file, Words words) {
  const std::uint32_t generation = ++generations_;
  log_.add(fmt::format("write file {} words {} to {} generation {}", number, words.from, words.to, generation));
  fill_buffer(number, words, generation);
  model_.change([&](CrashModel& model) {
    CrashFile& known = model.files[number];
    known.may_become(words.from, words.to, generation);
    if (words.to * kWordBytes > known.size()) {
      known.may_have_size(std::max(known.size(), words.offset()), words.to * kWordBytes);
    }
  });
  const Result<std::size_t> done = file.write(words.offset(), std::as_bytes(std::span(buffer_)));
  model_.change([&](CrashModel& model) {
    if (done) model.files[number].became(words.from, words.from + *done / kWordBytes, generation);
    model.files[number].has_size(file.size());
  });
  return ended("write", status_of(done), {ENOSPC});
}

// Every other page, so that the extents need a block of their own.
std::string CrashActor::scatter(std::uint32_t number, File& file) {
  const std::uint64_t first = below(kPages / 2);
  std::string wrong;
  for (std::uint64_t page = first; wrong.empty() && page < first + 16; page += 2) {
    wrong = write(number, file, {page * kPageWords, (page + 1) * kPageWords});
  }
  return wrong;
}

// What was a block of extents becomes one of bytes, all of it durable.
std::string CrashActor::churn(std::uint32_t number, File& file) {
  std::string wrong = scatter(number, file);
  if (wrong.empty()) wrong = sync_file(number, file, one_in(2));
  if (wrong.empty() && one_in(2)) return wrong;
  if (wrong.empty()) wrong = truncate(number, file, 0);
  if (wrong.empty() && one_in(2)) wrong = sync_file(number, file, false);
  if (wrong.empty()) wrong = write(number, file, {0, kPages * kPageWords});
  if (wrong.empty()) wrong = sync_file(number, file, one_in(2));
  return wrong;
}

std::string CrashActor::append(std::uint32_t number, File& file) {
  const std::uint64_t from = file.size() / kWordBytes;
  const Words words{from, from + (one_in(2) ? kPageWords : 1 + below(3 * kPageWords))};
  if (words.to > kPages * kPageWords) return {};
  const std::uint32_t generation = ++generations_;
  log_.add(fmt::format("append to file {} words {} to {} generation {}", number, words.from, words.to, generation));
  fill_buffer(number, words, generation);
  model_.change([&](CrashModel& model) {
    model.files[number].may_become(words.from, words.to, generation);
    model.files[number].may_have_size(words.offset(), words.to * kWordBytes);
  });
  const Result<std::uint64_t> done = file.append(std::as_bytes(std::span(buffer_)));
  model_.change([&](CrashModel& model) {
    if (done) model.files[number].became(words.from, words.to, generation);
    model.files[number].has_size(file.size());
  });
  return ended("append", status_of(done), {ENOSPC});
}

// `size` is in words.
std::string CrashActor::truncate(std::uint32_t number, File& file, std::uint64_t size) {
  const std::uint64_t before = file.size() / kWordBytes;
  const BreakOptions options = policy();
  log_.add(fmt::format("truncate file {} to {} words, {}", number, size,
                       options.on_pinned == OnPinned::fail ? "fail" : "detach"));
  model_.change([&](CrashModel& model) {
    model.files[number].may_become(size, before, 0);
    model.files[number].may_have_size(size * kWordBytes, size * kWordBytes);
  });
  const Status done = file.truncate(size * kWordBytes, options);
  if (done) {
    model_.change([&](CrashModel& model) {
      model.files[number].became(size, before, 0);
      model.files[number].has_size(size * kWordBytes);
    });
    if (size < before) detach(number, size / kPageWords, kPages);
  }
  return ended("truncate", done, {ENOSPC, EBUSY});
}

std::string CrashActor::punch(std::uint32_t number, File& file) {
  const Words words = some_words();
  const bool zero = one_in(3);
  const BreakOptions options = policy();
  log_.add(fmt::format("{} file {} words {} to {}, {}", zero ? "zero" : "punch", number, words.from, words.to,
                       options.on_pinned == OnPinned::fail ? "fail" : "detach"));
  model_.change([&](CrashModel& model) {
    CrashFile& known = model.files[number];
    known.may_become(words.from, words.to, 0);
    if (zero && words.to * kWordBytes > known.size()) known.may_have_size(known.size(), words.to * kWordBytes);
  });
  const Status done = zero ? file.zero_range(words.offset(), words.length(), options)
                           : file.punch(words.offset(), words.length(), options);
  model_.change([&](CrashModel& model) {
    if (done) model.files[number].became(words.from, words.to, 0);
    model.files[number].has_size(file.size());
  });
  if (done) detach(number, words.from / kPageWords, (words.to + kPageWords - 1) / kPageWords);
  return ended("punch", done, {ENOSPC, EBUSY});
}

// A few free pages, and a cluster of the file that nobody holds, which it gives up. In between the power may fail: the
// memory that is recovered is as good as any.
std::string CrashActor::lose(std::uint32_t number, File& file) {
  const std::uint64_t pages = fs_->space().total / kPageBytes;
  for (int i = 0; i < 3; ++i) {
    const Pfn page(below(pages));
    const Result<bool> free = fs_->core().format().block_free(page);
    if (!free || !*free) continue;
    log_.add(fmt::format("lose page {}, which is free", page.raw()));
    if (std::string wrong = ended("lose", fs_->poison(page.bytes(), kPageBytes), {}); !wrong.empty()) return wrong;
  }
  const bool held = std::any_of(held_.begin(), held_.end(), [number](const Held& one) { return one.number == number; });
  const Result<std::vector<ExtentInfo>> extents = file.extents();
  if (!extents) return ended("extents", extents.error(), {});
  if (held || extents->empty()) return {};
  const ExtentInfo& extent = (*extents)[below(extents->size())];
  const std::uint64_t cluster = fs_->space().cluster;
  const std::uint64_t offset = round_down(extent.offset + below(extent.length), cluster);
  if (offset < extent.offset || offset >= file.size()) return {};
  const std::uint64_t lost = extent.device_offset + (offset - extent.offset);
  log_.add(fmt::format("lose page {}, of file {} at {}, and punch it", lost / kPageBytes, number, offset));
  if (std::string wrong = ended("lose", fs_->poison(lost, kPageBytes), {}); !wrong.empty()) return wrong;
  const Words words{offset / kWordBytes, (offset + cluster) / kWordBytes};
  model_.change([&](CrashModel& model) { model.files[number].may_become(words.from, words.to, 0); });
  const Status done = file.punch(offset, cluster, {.on_pinned = OnPinned::detach});
  if (done) model_.change([&](CrashModel& model) { model.files[number].became(words.from, words.to, 0); });
  return ended("punch", done, {});
}

std::string CrashActor::allocate(std::uint32_t number, File& file) {
  const Words words = some_words();
  const bool extend = one_in(2);
  log_.add(fmt::format("allocate file {} words {} to {}{}", number, words.from, words.to, extend ? ", extend" : ""));
  model_.change([&](CrashModel& model) {
    CrashFile& known = model.files[number];
    if (extend && words.to * kWordBytes > known.size()) known.may_have_size(known.size(), words.to * kWordBytes);
  });
  const Status done = file.allocate(words.offset(), words.length(), extend ? Allocate::extend : Allocate::keep_size);
  model_.change([&](CrashModel& model) { model.files[number].has_size(file.size()); });
  return ended("allocate", done, {ENOSPC});
}

// Writes over what is there, durably: nothing has to be committed for that.
std::string CrashActor::update(std::uint32_t number, File& file) {
  const std::uint64_t words = file.size() / kWordBytes;
  if (words == 0) return {};
  std::string wrong = sync_file(number, file, false);
  for (int i = 0; i < 2 && wrong.empty(); ++i) {
    const std::uint64_t word = below(words);
    wrong = write(number, file, {word, word + 1});
    if (wrong.empty()) wrong = sync_file(number, file, true);
  }
  return wrong;
}

std::string CrashActor::sync_file(std::uint32_t number, File& file, bool data) {
  log_.add(fmt::format("sync{} file {}", data ? " data of" : "", number));
  const Status done = data ? file.sync_data() : file.sync();
  if (done) {
    model_.change([&](CrashModel& model) {
      model.files[number].synced();
      model.names_synced();  // one transaction has all names
    });
    committed();
  }
  return ended("sync", done, {});
}

std::string CrashActor::sync_all() {
  log_.add("sync all");
  const Status done = fs_->sync();
  if (done) {
    model_.change([](CrashModel& model) {
      for (auto& [number, file] : model.files) file.synced();
      model.names_synced();
    });
    committed();
  }
  return ended("sync", done, {});
}

}  // namespace holdfast::test
