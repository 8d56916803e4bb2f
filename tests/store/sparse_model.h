// What a file should hold: its size and the pages that are not all zeros.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include <holdfast/types.h>

namespace holdfast::test {

class SparseModel {
 public:
  std::uint64_t size() const { return size_; }

  void write(std::uint64_t offset, std::span<const std::byte> from) {
    for (std::size_t done = 0; done < from.size();) {
      const std::uint64_t at = offset + done;
      const std::size_t part = std::min<std::size_t>(from.size() - done, kPage - at % kPage);
      std::vector<std::byte>& page = pages_[at / kPage];
      page.resize(kPage);
      std::copy_n(from.data() + done, part, page.data() + at % kPage);
      done += part;
    }
    size_ = std::max(size_, offset + from.size());
  }
  void zero(std::uint64_t begin, std::uint64_t end) {
    for (auto page = pages_.lower_bound(begin / kPage); page != pages_.end() && page->first * kPage < end;) {
      const std::uint64_t first = std::max(begin, page->first * kPage) % kPage;
      const std::uint64_t last = std::min(end - page->first * kPage, kPage);
      std::fill_n(page->second.data() + first, last - first, std::byte{0});
      page = first == 0 && last == kPage ? pages_.erase(page) : std::next(page);
    }
  }
  void truncate(std::uint64_t size) {
    if (size < size_) zero(size, size_);
    size_ = size;
  }
  void grow_to(std::uint64_t size) { size_ = std::max(size_, size); }

  std::vector<std::byte> read(std::uint64_t offset, std::size_t length) const {
    std::vector<std::byte> bytes(offset < size_ ? std::min<std::uint64_t>(length, size_ - offset) : 0);
    const std::uint64_t end = offset + bytes.size();
    for (auto page = pages_.lower_bound(offset / kPage); page != pages_.end() && page->first * kPage < end; ++page) {
      const std::uint64_t first = std::max(offset, page->first * kPage);
      const std::uint64_t last = std::min(end, (page->first + 1) * kPage);
      std::copy_n(page->second.data() + first % kPage, last - first, bytes.data() + (first - offset));
    }
    return bytes;
  }

 private:
  static constexpr std::uint64_t kPage = 4096;
  std::uint64_t size_ = 0;
  std::map<std::uint64_t, std::vector<std::byte>> pages_;
};

}  // namespace holdfast::test
