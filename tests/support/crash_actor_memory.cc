// Memory that shows files: windows, and pins that a device stores through.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "support/crash_actor.h"

namespace holdfast::test {
namespace {

constexpr std::uint64_t kWordBytes = sizeof(Word);

void store_word(std::byte* at, Word word) { __atomic_store_n(reinterpret_cast<Word*>(at), word, __ATOMIC_RELAXED); }

}  // namespace

// A held cluster is replaced as a whole.
void CrashActor::detach(std::uint32_t number, std::uint64_t first_page, std::uint64_t end_page) {
  first_page = first_page / cluster_pages_ * cluster_pages_;
  end_page = (end_page + cluster_pages_ - 1) / cluster_pages_ * cluster_pages_;
  for (Held& each : held_) {
    if (each.number != number) continue;
    for (std::uint64_t page = first_page; page < end_page; ++page) {
      if (page < each.first || page - each.first >= each.attached.size()) continue;
      Attached& attached = each.attached[page - each.first];
      if (attached == Attached::yes) attached = Attached::until_commit;
    }
  }
}

// What has left its file has left it for good.
void CrashActor::committed() {
  for (Held& each : held_) {
    for (Attached& attached : each.attached) {
      if (attached == Attached::until_commit) attached = Attached::no;
    }
  }
}

// Whether the program flushes what it stores next, by itself.
bool CrashActor::persists() { return persist_ != nullptr && one_in(2); }

void CrashActor::durable(std::uint32_t number, std::uint64_t word, std::uint32_t generation) {
  log_.add(fmt::format("    word {} of file {} is durable", word, number));
  model_.change([&](CrashModel& model) {
    model.files[number].word_is_durable(word, generation);
    model.file_is_durable(number);
  });
}

std::string CrashActor::on_memory() {
  switch (below(8)) {
    case 0:
    case 1:
      return on_file();
    case 2:
    case 3:
    case 4:
      return store();
    default:
      return device_stores();
  }
}

std::string CrashActor::show(std::uint32_t number, File& file) {
  if (shown_.size() >= 3) shown_.erase(shown_.begin());
  log_.add(fmt::format("map file {}", number));
  Result<Window> window = file.map(0, kPages * kModelPage);
  if (!window) return ended("map", window.error(), {});
  shown_.push_back({std::move(*window), number});
  return {};
}

std::string CrashActor::store() {
  if (shown_.empty()) return {};
  const Shown& shown = shown_[below(shown_.size())];
  const std::uint64_t words = model_.get().files.at(shown.number).size() / kWordBytes;
  // A store that finds no block is a bus error.
  if (words == 0 || fs_->space().available < 128 * KiB) return {};
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t word = below(words);
    const std::uint32_t generation = ++generations_;
    log_.add(fmt::format("store file {} word {} generation {}", shown.number, word, generation));
    model_.change([&](CrashModel& model) { model.files[shown.number].may_become(word, word + 1, generation); });
    store_word(shown.window.data() + word * kWordBytes,
               Stamp{shown.number, static_cast<std::uint32_t>(word / kPageWords), generation}.word());
    model_.change([&](CrashModel& model) { model.files[shown.number].became(word, word + 1, generation); });
    const auto stored_to = open_.find(shown.number);
    if (!persists() || stored_to == open_.end()) continue;
    const Result<std::vector<ExtentInfo>> extents = stored_to->second.extents();
    if (!extents) return ended("extents", extents.error(), {});
    for (const ExtentInfo& each : *extents) {
      const std::uint64_t offset = word * kWordBytes;
      if (offset < each.offset || offset >= each.offset + each.length) continue;
      persist_(each.device_offset + (offset - each.offset), kWordBytes);
      durable(shown.number, word, generation);
    }
  }
  const auto file = open_.find(shown.number);
  return file != open_.end() && one_in(3) ? sync_file(file->first, file->second, one_in(2)) : std::string();
}

std::string CrashActor::pin(std::uint32_t number, File& file) {
  if (held_.size() >= 4) held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(below(held_.size())));
  const std::uint64_t pages = (file.size() + kModelPage - 1) / kModelPage;
  if (pages == 0) return {};
  const std::uint64_t first = below(pages);
  const std::uint64_t count = std::min(pages - first, 1 + below(6));
  log_.add(fmt::format("pin file {} pages {} to {}", number, first, first + count));
  const std::uint64_t length = std::min(count * kModelPage, file.size() - first * kModelPage);
  Result<Pin> pin = file.pin(first * kModelPage, length, {.access = Access::write, .purpose = "a device"});
  if (!pin) return ended("pin", pin.error(), {ENOSPC});
  held_.push_back({std::move(*pin), number, first, std::vector<Attached>(count, Attached::yes)});
  return {};
}

// Through addresses that nobody watches: into the file, or into what has left it.
std::string CrashActor::device_stores() {
  if (held_.empty()) return {};
  const Held& held = held_[below(held_.size())];
  const std::uint32_t generation = ++generations_;
  log_.add(fmt::format("device stores through the pin of file {} from page {}, generation {}", held.number, held.first,
                       generation));
  std::uint64_t at = held.first * kPageWords;
  const bool persistently = persists();
  for (const Segment& segment : held.pin.segments()) {
    for (std::uint64_t done = 0; done + kWordBytes <= segment.length; done += kWordBytes, ++at) {
      if (!one_in(persistently ? 256 : 64)) continue;
      const std::uint64_t page = at / kPageWords;
      const Attached attached = held.attached[page - held.first];
      const bool may_show = attached != Attached::no;
      if (may_show) {
        model_.change([&](CrashModel& model) { model.files[held.number].may_become(at, at + 1, generation); });
      }
      store_word(segment.address + done,
                 Stamp{may_show ? held.number : kForeign, static_cast<std::uint32_t>(page), generation}.word());
      if (attached == Attached::yes) {
        model_.change([&](CrashModel& model) { model.files[held.number].became(at, at + 1, generation); });
      }
      if (!persistently) continue;
      persist_(segment.device_offset + done, kWordBytes);
      if (attached == Attached::yes) durable(held.number, at, generation);
    }
  }
  const auto file = open_.find(held.number);
  const bool syncs = mix_ == CrashMix::memory && !persistently && file != open_.end() && one_in(2);
  return syncs ? sync_file(file->first, file->second, one_in(2)) : std::string();
}

}  // namespace holdfast::test
