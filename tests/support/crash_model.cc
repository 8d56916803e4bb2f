#include "support/crash_model.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::test {
namespace {

std::uint32_t word_of(const std::shared_ptr<const PageWords>& words, std::uint64_t at) {
  return words == nullptr ? 0 : words->at(at);
}

}  // namespace

template <typename Visit>
void CrashFile::each_page(std::uint64_t from, std::uint64_t to, Visit visit) {
  while (from < to) {
    const std::uint64_t page = from / kPageWords;
    const std::uint64_t end = std::min(to, (page + 1) * kPageWords);
    visit(pages_[page], static_cast<std::uint32_t>(from % kPageWords),
          static_cast<std::uint32_t>(end - page * kPageWords));
    from = end;
  }
}

void CrashFile::may_become(std::uint64_t from, std::uint64_t to, std::uint32_t generation) {
  each_page(from, to, [generation](Page& page, std::uint32_t first, std::uint32_t end) {
    page.changes.push_back({first, end, generation});
  });
}

void CrashFile::became(std::uint64_t from, std::uint64_t to, std::uint32_t generation) {
  each_page(from, to, [generation](Page& page, std::uint32_t first, std::uint32_t end) {
    auto words = page.now == nullptr ? std::make_shared<PageWords>() : std::make_shared<PageWords>(*page.now);
    std::fill(words->begin() + first, words->begin() + end, generation);
    page.now = std::move(words);
  });
}

void CrashFile::may_have_size(std::uint64_t least, std::uint64_t most) { sizes_.push_back({least, most}); }

void CrashFile::synced() {
  for (auto& [index, page] : pages_) {
    page.synced = page.now;
    page.changes.clear();
  }
  sizes_ = {{size_, size_}};
  attributes_ = {attribute_};
}

void CrashFile::word_is_durable(std::uint64_t word, std::uint32_t generation) {
  Page& page = pages_[word / kPageWords];
  const auto at = static_cast<std::uint32_t>(word % kPageWords);
  auto words = page.synced == nullptr ? std::make_shared<PageWords>() : std::make_shared<PageWords>(*page.synced);
  words->at(at) = generation;
  page.synced = std::move(words);
  std::vector<Change> others;
  for (const Change& each : page.changes) {
    if (each.from < std::min(each.to, at)) others.push_back({each.from, std::min(each.to, at), each.generation});
    if (std::max(each.from, at + 1) < each.to)
      others.push_back({std::max(each.from, at + 1), each.to, each.generation});
  }
  page.changes = std::move(others);
  const std::uint64_t end = (word + 1) * sizeof(Word);
  std::erase_if(sizes_, [end](const Sizes& each) { return each.most < end; });
  for (Sizes& each : sizes_) each.least = std::max(each.least, end);
}

void CrashModel::file_is_durable(std::uint32_t number) {
  const auto named = [number](const Names& moment) {
    return std::any_of(moment.begin(), moment.end(), [number](const auto& each) { return each.second == number; });
  };
  const auto first = std::find_if(names.begin(), names.end(), named);
  if (first != names.end()) names.erase(names.begin(), first);
}

std::string CrashFile::check_size(std::uint64_t found) const {
  for (const Sizes& each : sizes_) {
    if (found >= each.least && found <= each.most) return {};
  }
  std::string may;
  for (const Sizes& each : sizes_) may += fmt::format(" {}..{}", each.least, each.most);
  return fmt::format("size {}, may be{}", found, may);
}

std::string CrashFile::check_attribute(const std::string& found) const {
  if (std::find(attributes_.begin(), attributes_.end(), found) != attributes_.end()) return {};
  constexpr std::size_t kShown = 20;
  std::string may;
  for (const std::string& each : attributes_)
    may += fmt::format(" '{}' ({} bytes)", each.substr(0, kShown), each.size());
  return fmt::format("its attribute is '{}' ({} bytes), may be{}", found.substr(0, kShown), found.size(), may);
}

std::string CrashFile::check(std::uint32_t file, std::uint64_t offset, const Word* words, std::uint64_t count) const {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t index = offset / sizeof(Word) + i;
    const std::uint64_t in_page = index % kPageWords;
    const auto found = pages_.find(index / kPageWords);
    const Page none;
    const Page& page = found == pages_.end() ? none : found->second;
    const Stamp stamp = Stamp::of(words[i]);
    const bool mine = words[i] == 0 || (stamp.file == file && stamp.page == index / kPageWords);
    const std::uint32_t generation = words[i] == 0 ? 0 : stamp.generation;
    bool allowed = mine && generation == word_of(page.synced, in_page);
    for (const Change& each : page.changes) {
      allowed = allowed || (mine && each.generation == generation && in_page >= each.from && in_page < each.to);
    }
    if (allowed) continue;
    std::string may = fmt::format("{}", word_of(page.synced, in_page));
    for (const Change& each : page.changes) {
      if (in_page >= each.from && in_page < each.to) may += fmt::format(", {}", each.generation);
    }
    return fmt::format("word {} of page {} is {:#x} (file {}, page {}, generation {}), may be of generation {}",
                       in_page, index / kPageWords, words[i], stamp.file, stamp.page, stamp.generation, may);
  }
  return {};
}

}  // namespace holdfast::test
