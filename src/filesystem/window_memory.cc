#include "filesystem/window_memory.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/epoch.h"
#include "filesystem/read.h"
#include "filesystem/thread_buffer.h"
#include "filesystem/write.h"
#include "window/file_windows.h"
#include "window/registry.h"

namespace holdfast::filesystem {
namespace {

// A part of the caller's memory: of one window, or of none.
struct Run {
  std::byte* memory = nullptr;
  std::size_t length = 0;
  std::shared_ptr<window::Owner> owner;  // of the window
  std::uint64_t offset = 0;              // in what it shows
  bool gone = false;                     // the program unmapped the part
  bool read_only = false;
};

Run first_run(std::byte* memory, std::size_t length) {
  const epoch::Guard guard;
  window::View* const view = window::find_view_in(memory, length);
  if (view == nullptr) return {memory, length, nullptr};
  if (view->begin() > memory) return {memory, static_cast<std::size_t>(view->begin() - memory), nullptr};
  const auto inside = static_cast<std::size_t>(memory - view->begin());
  Run run{memory, std::min(length, view->length() - inside), view->owner};
  run.offset = view->pages().first.bytes() + inside;
  run.read_only = view->access() != Access::write;
  const PageRange pages = pages_touched(run.offset, run.length);
  const PageRange kept = view->file().kept(*view, pages);
  run.gone = kept.empty();
  if (!run.gone && kept.end < pages.end) run.length = kept.end.bytes() - run.offset;
  return run;
}

// Calls visit(Run) for the parts of the pieces, in order, until it fails or does less than the whole. What was done
// before a failure counts, as with system calls.
template <typename Visit>
Result<std::size_t> each_run(std::span<const iovec> pieces, Visit visit) {
  std::size_t done = 0;
  for (const iovec& piece : pieces) {
    auto* memory = static_cast<std::byte*>(piece.iov_base);
    for (std::size_t left = piece.iov_len; left > 0;) {
      const Run run = first_run(memory, left);
      const Result<std::size_t> part = visit(run, done);
      if (!part && done == 0) return Error(part.error());
      if (!part) return done;
      done += *part;
      if (*part < run.length) return done;
      memory += run.length;
      left -= run.length;
    }
  }
  return done;
}

Error fault(const Run& run, const char* reason) {
  return Error(EFAULT, run.owner->name(), fmt::format("the buffer lies in a window of it that {}", reason));
}

Error shows_nothing(const Run& run) { return fault(run, "shows nothing there"); }

// From what the window shows to memory of ours: at least one byte.
Result<std::size_t> load(const Run& run, std::size_t at, std::span<std::byte> to) {
  if (run.gone) return fault(run, "was unmapped there");
  HF_ASSIGN(const std::size_t got, run.owner->load(run.offset + at, to));
  if (got == 0) return shows_nothing(run);
  return got;
}

// From memory of ours to what the window shows, as a store there would.
Result<std::size_t> store(const Run& run, std::size_t at, std::span<const std::byte> from) {
  if (run.gone) return fault(run, "was unmapped there");
  if (run.read_only) return fault(run, "is for reading only");
  HF_ASSIGN(const std::size_t done, run.owner->store(run.offset + at, from));
  if (done == 0) return shows_nothing(run);
  return done;
}

// As each_run: what lies in no window goes plain(piece, before), what does through(run, at, before, buffer), a buffer
// of memory of ours at a time, until one does nothing. `before`: bytes that came before it.
template <typename Plain, typename Through>
Result<std::size_t> each_part(std::span<const iovec> pieces, Plain plain, Through through) {
  return each_run(pieces, [&](const Run& run, std::size_t before) -> Result<std::size_t> {
    if (run.owner == nullptr) return plain(iovec{run.memory, run.length}, before);
    std::size_t done = 0;
    while (done < run.length) {
      const std::span<std::byte> buffer = thread_buffer().first(std::min(run.length - done, kThreadBufferBytes));
      Result<std::size_t> part = through(run, done, before + done, buffer);
      if (!part && done == 0) return part;
      if (!part || *part == 0) break;
      done += *part;
    }
    return done;
  });
}

}  // namespace

bool in_windows(std::span<const iovec> pieces) {
  if (!window::any_views()) [[likely]] {
    return false;
  }
  const epoch::Guard guard;
  const auto shown = [](const void* memory, std::size_t length) {
    return length > 0 && window::find_view_in(memory, length) != nullptr;
  };
  return shown(pieces.data(), pieces.size_bytes()) ||
         std::any_of(pieces.begin(), pieces.end(),
                     [&shown](const iovec& piece) { return shown(piece.iov_base, piece.iov_len); });
}

bool in_windows(std::string_view text) {
  const iovec piece{const_cast<char*>(text.data()), text.size()};  // NOLINT: only asked where it lies
  return in_windows({&piece, 1});
}

Result<std::size_t> read_to_windows(Inode& inode, std::uint64_t offset, std::span<const iovec> into) {
  const auto plain = [&](const iovec& piece, std::size_t before) { return read(inode, offset + before, {&piece, 1}); };
  return each_part(
      into, plain,
      [&](const Run& run, std::size_t at, std::size_t before, std::span<std::byte> buffer) -> Result<std::size_t> {
        HF_ASSIGN(const std::size_t got, plain({buffer.data(), buffer.size()}, before));
        if (got == 0) return got;
        return store(run, at, buffer.first(got));
      });
}

Result<std::size_t> write_from_windows(Inode& inode, std::uint64_t offset, std::span<const iovec> from) {
  const auto plain = [&](const iovec& piece, std::size_t before) { return write(inode, offset + before, {&piece, 1}); };
  return each_part(
      from, plain,
      [&](const Run& run, std::size_t at, std::size_t before, std::span<std::byte> buffer) -> Result<std::size_t> {
        HF_ASSIGN(const std::size_t got, load(run, at, buffer));
        return plain({buffer.data(), got}, before);
      });
}

Status check_readable(std::span<const std::byte> from) {
  if (!window::any_views()) return {};
  while (!from.empty()) {
    const Run run = first_run(const_cast<std::byte*>(from.data()), from.size());  // NOLINT: only asked where it lies
    if (run.gone) return fault(run, "was unmapped there");
    if (run.owner != nullptr && run.offset + run.length > run.owner->shown_end()) return shows_nothing(run);
    from = from.subspan(run.length);
  }
  return {};
}

Status gather(std::span<const std::byte> from, std::byte* to) {
  while (!from.empty()) {
    const Run run = first_run(const_cast<std::byte*>(from.data()), from.size());  // NOLINT: only read
    std::size_t done = run.length;
    if (run.owner == nullptr) {
      std::memcpy(to, run.memory, run.length);
    } else {
      HF_ASSIGN(done, load(run, 0, {to, run.length}));
    }
    to += done;
    from = from.subspan(done);
  }
  return {};
}

}  // namespace holdfast::filesystem
