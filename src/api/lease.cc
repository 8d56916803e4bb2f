#include <holdfast/lease.h>

#include <utility>

#include "filesystem/lease.h"

namespace holdfast {

Lease::Lease() noexcept = default;
Lease::Lease(std::unique_ptr<filesystem::FileLease> impl) : impl_(std::move(impl)) {}
Lease::Lease(Lease&&) noexcept = default;
Lease& Lease::operator=(Lease&&) noexcept = default;
Lease::~Lease() = default;

std::span<const LeasedExtent> Lease::extents() const noexcept {
  if (impl_ == nullptr) return {};
  return impl_->extents;
}

bool Lease::recalled() const noexcept {
  return impl_ != nullptr && impl_->listing.state() != layout::LeaseState::granted;
}

void Lease::release() noexcept { impl_.reset(); }

}  // namespace holdfast
