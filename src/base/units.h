// Numbers with units: page frames, page indexes, page counts, orders. Only the arithmetic that makes sense exists.
//
// Bytes become pages in the helpers at the end, each of which says in its name which way it rounds.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

#include <holdfast/types.h>

namespace holdfast {

inline constexpr unsigned kPageShift = 12;
inline constexpr std::uint64_t kPageBytes = std::uint64_t{1} << kPageShift;

// A count of 4 KiB pages.
class PageCount {
 public:
  constexpr PageCount() = default;
  constexpr explicit PageCount(std::uint64_t pages) : pages_(pages) {}
  constexpr std::uint64_t raw() const { return pages_; }
  constexpr std::uint64_t bytes() const { return pages_ << kPageShift; }
  constexpr auto operator<=>(const PageCount&) const = default;
  constexpr PageCount operator+(PageCount other) const { return PageCount(pages_ + other.pages_); }
  constexpr PageCount operator-(PageCount other) const { return PageCount(pages_ - other.pages_); }
  constexpr PageCount& operator+=(PageCount other) { return *this = *this + other; }
  constexpr PageCount& operator-=(PageCount other) { return *this = *this - other; }

 private:
  std::uint64_t pages_ = 0;
};

// log2 of a folio's pages: 0 (4 KiB), 9 (2 MiB), 18 (1 GiB).
class Order {
 public:
  constexpr Order() = default;
  constexpr explicit Order(unsigned log2_pages) : log2_(static_cast<std::uint8_t>(log2_pages)) {}
  constexpr unsigned raw() const { return log2_; }
  constexpr PageCount pages() const { return PageCount(std::uint64_t{1} << log2_); }
  constexpr auto operator<=>(const Order&) const = default;

 private:
  std::uint8_t log2_ = 0;
};

inline constexpr Order kOrder4K{0};
inline constexpr Order kOrder2M{9};
inline constexpr Order kOrder1G{18};

// A position in units of pages. Tag keeps places of different spaces apart.
template <typename Tag>
class PagePosition {
 public:
  constexpr PagePosition() = default;
  constexpr explicit PagePosition(std::uint64_t page) : page_(page) {}
  constexpr std::uint64_t raw() const { return page_; }
  constexpr std::uint64_t bytes() const { return page_ << kPageShift; }
  constexpr auto operator<=>(const PagePosition&) const = default;
  constexpr PagePosition operator+(PageCount count) const { return PagePosition(page_ + count.raw()); }
  constexpr PagePosition operator-(PageCount count) const { return PagePosition(page_ - count.raw()); }
  constexpr PageCount operator-(PagePosition other) const { return PageCount(page_ - other.page_); }
  constexpr PagePosition& operator+=(PageCount count) { return *this = *this + count; }

  // The one helper for every computation on a unit: the first page of the unit of `order` that holds this page.
  constexpr PagePosition align_down(Order order) const { return PagePosition(page_ & ~(order.pages().raw() - 1)); }
  constexpr PagePosition align_up(Order order) const {
    return PagePosition((page_ + order.pages().raw() - 1) & ~(order.pages().raw() - 1));
  }
  constexpr bool is_aligned(Order order) const { return align_down(order) == *this; }

 private:
  std::uint64_t page_ = 0;
};

using Pfn = PagePosition<struct PfnTag>;              // a page of the device, counted from its first byte
using PageIndex = PagePosition<struct PageIndexTag>;  // a page of a file, counted from its first byte

// Pages [first, end) of a file. `end` may be kEndOfFile: everything from `first` on.
inline constexpr PageIndex kEndOfFile{std::uint64_t{1} << 52};

struct PageRange {
  PageIndex first;
  PageIndex end;

  constexpr bool empty() const { return first >= end; }
  constexpr PageCount count() const { return end - first; }
  constexpr bool contains(PageIndex index) const { return first <= index && index < end; }
  constexpr bool overlaps(const PageRange& other) const { return first < other.end && other.first < end; }
  constexpr bool operator==(const PageRange&) const = default;
};

constexpr std::uint64_t round_down(std::uint64_t bytes, std::uint64_t unit) { return bytes / unit * unit; }
constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit) { return (bytes + unit - 1) / unit * unit; }
constexpr PageIndex page_holding(std::uint64_t file_offset) { return PageIndex(file_offset >> kPageShift); }
constexpr PageIndex page_after(std::uint64_t file_end) { return PageIndex((file_end + kPageBytes - 1) >> kPageShift); }
constexpr PageCount pages_covering(std::uint64_t bytes) { return PageCount((bytes + kPageBytes - 1) >> kPageShift); }

// What both hold.
constexpr PageRange clip(PageRange range, PageRange to) {
  return {range.first < to.first ? to.first : range.first, range.end < to.end ? range.end : to.end};
}
// Out to multiples of `unit`; kEndOfFile stays what it is.
constexpr PageRange round_out(PageRange range, PageCount unit) {
  return {PageIndex(round_down(range.first.raw(), unit.raw())),
          range.end == kEndOfFile ? range.end : PageIndex(round_up(range.end.raw(), unit.raw()))};
}

// Every page that holds a byte of [offset, offset + length).
constexpr PageRange pages_touched(std::uint64_t offset, std::uint64_t length) {
  return length == 0 ? PageRange{page_holding(offset), page_holding(offset)}
                     : PageRange{page_holding(offset), page_after(offset + length)};
}

}  // namespace holdfast
