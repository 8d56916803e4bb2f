// Holdfast: files in byte-addressable memory whose pages are never reused while anyone still holds them.
#pragma once

#include <holdfast/device.h>      // IWYU pragma: export
#include <holdfast/error.h>       // IWYU pragma: export
#include <holdfast/file.h>        // IWYU pragma: export
#include <holdfast/filesystem.h>  // IWYU pragma: export
#include <holdfast/lease.h>       // IWYU pragma: export
#include <holdfast/pin.h>         // IWYU pragma: export
#include <holdfast/raw_device.h>  // IWYU pragma: export
#include <holdfast/types.h>       // IWYU pragma: export
#include <holdfast/window.h>      // IWYU pragma: export
