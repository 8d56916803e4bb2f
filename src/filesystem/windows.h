// Windows of files: making them, and telling them what changed.
#pragma once

#include <memory>

#include <holdfast/types.h>

#include "filesystem/core.h"
#include "window/file_windows.h"
#include "window/view.h"

namespace holdfast::filesystem {

// An inode as windows see it.
class InodeWindows final : public window::FileSource {
 public:
  explicit InodeWindows(Inode& inode);

  mapping::Mapping& mapping() const override { return inode_.mapping; }
  window::Place place(PageIndex index) const override;
  PageIndex end() const override;
  std::optional<Grain> whole_grain(PageIndex first, PageCount grain) const override;
  bool try_track(PageRange range) override;
  Status track(PageRange range, Access access) override;
  Status learn(PageIndex index) override;
  Status mark_stores(PageRange range) override;
  void make_unit(PageIndex first) override;

  window::FileWindows& all() { return all_; }

 private:
  Inode& inode_;
  window::FileWindows all_;
};

// A window of [offset, offset + length) of the file, listed and served until it is closed.
struct MapRequest {
  std::uint64_t offset = 0;  // a multiple of the carrier's page
  std::uint64_t length = 0;
  Access access = Access::write;
  bool populate = false;  // every page is there when map returns; holes are filled where the access is write
  ServeFaults faults = ServeFaults::thread;  // a wish
  bool synchronous = false;                  // or EOPNOTSUPP: see reach.h
};
// EBADF, EACCES, EINVAL, EOVERFLOW, EROFS, ENOMEM, EOPNOTSUPP; with populate what FileSource::track says. Nothing is
// left behind.
Result<std::shared_ptr<window::View>> map(const std::shared_ptr<OpenFile>& file, const MapRequest& request);

// The file that a window of a file system shows; as long as its owner is kept.
inline OpenFile& file_of(const window::View& view) { return static_cast<OpenFile&>(*view.owner); }

// In what units blocks come and go so that windows can go on showing the file: the carrier's page, while there are any.
PageCount shown_unit(const Inode& inode) HF_REQUIRES(inode.lock);
PageRange out_to_shown_units(const Inode& inode, PageRange range) HF_REQUIRES(inode.lock);

// --- what operations tell the windows of an inode; nothing where there are none ---
// Blocks or bytes came, or what was left shows something else now.
void refresh_windows(Inode& inode, PageRange range) HF_REQUIRES(inode.lock);
// Before blocks go: see FileWindows::leave.
Status leave_windows(Inode& inode, PageRange range) HF_REQUIRES(inode.lock);

}  // namespace holdfast::filesystem
