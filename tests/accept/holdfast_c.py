"""The C interface of libholdfast, as far as the acceptance runs need it."""
import ctypes as c
import os


class HoldfastError(OSError):
    pass


class Space(c.Structure):
    _fields_ = [(name, c.c_uint64) for name in
                ("total", "free", "available", "quarantined", "inodes", "free_inodes")]


class BreakOptions(c.Structure):
    _fields_ = [("on_pinned", c.c_int32), ("deadline_ns", c.c_int64)]


class PinOptions(c.Structure):
    _fields_ = [("access", c.c_int32), ("on_break", c.c_int32), ("released_elsewhere", c.c_int32),
                ("deadline_ns", c.c_int64), ("purpose", c.c_char_p)]


class UnitReport(c.Structure):
    _fields_ = [(name, c.c_uint64) for name in
                ("in_1g", "in_2m", "file_end", "holes", "scattered", "not_congruent", "carrier",
                 "window_edge", "small_entries", "untouched")]


class UnitStatistics(c.Structure):
    _fields_ = [(name, c.c_uint64) for name in
                ("made", "refused_busy", "refused_memory", "refused_unsupported", "failed")] + [("windows", UnitReport)]


WAIT, FAIL, DETACH = 0, 1, 2
READ, WRITE, CREATE, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8, 16
FOREVER = 2**63 - 1


class Library:
    def __init__(self, path):
        self.lib = c.CDLL(path)
        self.lib.hf_error_message.restype = c.c_char_p
        self.lib.hf_close.argtypes = [c.c_void_p]
        self.lib.hf_unpin.argtypes = [c.c_void_p]
        self.lib.hf_filesystem_free.argtypes = [c.c_void_p]
        self.lib.hf_mapped_address.argtypes = [c.c_void_p]
        self.lib.hf_mapped_address.restype = c.c_void_p
        self.lib.hf_unmap.argtypes = [c.c_void_p]

    def call(self, name, *arguments):
        code = getattr(self.lib, name)(*arguments)
        if code != 0:
            raise HoldfastError(code, self.lib.hf_error_message().decode(errors="replace"))


class Pool:
    """A mounted pool."""

    def __init__(self, library, path, read_only=False):
        self.library = library
        device = c.c_void_p()
        opener = "hf_device_open_read_only" if read_only else "hf_device_open"
        library.call(opener, os.fsencode(path), c.byref(device))
        self.handle = c.c_void_p()
        library.call("hf_mount", device, c.c_int(1 if read_only else 0), c.byref(self.handle))

    @classmethod
    def new_on(cls, library, device, cluster=0):
        """A new file system on a device handle, mounted."""
        library.call("hf_format", device, c.c_uint64(cluster), None, c.c_int(0))
        pool = cls.__new__(cls)
        pool.library = library
        pool.handle = c.c_void_p()
        library.call("hf_mount", device, c.c_int(0), c.byref(pool.handle))
        return pool

    def call(self, name, *arguments):
        self.library.call(name, self.handle, *arguments)

    def unit_statistics(self):
        statistics = UnitStatistics()
        self.call("hf_unit_statistics_of", c.byref(statistics))
        return statistics

    def unlink(self, path):
        self.call("hf_unlink", os.fsencode(path))

    def rename(self, old, new, mode=0):
        self.call("hf_rename", os.fsencode(old), os.fsencode(new), c.c_int(mode))

    def mkdir(self, path):
        self.call("hf_make_directory", os.fsencode(path), c.c_uint32(0o755))

    def stat_exists(self, path):
        stat = (c.c_uint8 * 256)()
        self.call("hf_stat_path", os.fsencode(path), c.c_int(0), c.byref(stat))

    def open(self, path, flags=READ | WRITE, permissions=0o644):
        file = c.c_void_p()
        self.call("hf_open", os.fsencode(path), c.c_uint32(flags), c.c_uint32(permissions), c.byref(file))
        return File(self.library, file)

    def space(self):
        space = Space()
        self.call("hf_space_of", c.byref(space))
        return space

    def sync(self):
        self.call("hf_sync")

    def unmount(self):
        self.call("hf_unmount", c.c_int64(FOREVER))
        self.library.lib.hf_filesystem_free(self.handle)


class File:
    def __init__(self, library, handle):
        self.library = library
        self.handle = handle

    def truncate(self, size, on_pinned=WAIT):
        options = BreakOptions(on_pinned, FOREVER)
        self.library.call("hf_truncate", self.handle, c.c_uint64(size), c.byref(options))

    def punch(self, offset, length):
        self.library.call("hf_punch", self.handle, c.c_uint64(offset), c.c_uint64(length), None)

    def allocate(self, offset, length):
        self.library.call("hf_allocate", self.handle, c.c_uint64(offset), c.c_uint64(length), c.c_int(0))

    def write(self, offset, data):
        done = c.c_size_t()
        self.library.call("hf_write", self.handle, c.c_uint64(offset), data, c.c_size_t(len(data)), c.byref(done))
        return done.value

    def append(self, data):
        self.library.call("hf_append", self.handle, data, c.c_size_t(len(data)), None)

    def units(self):
        report = UnitReport()
        self.library.call("hf_units_of_file", self.handle, c.byref(report))
        return report

    def map(self, length):
        mapped = c.c_void_p()
        self.library.call("hf_map", self.handle, c.c_uint64(0), c.c_uint64(length), None, c.byref(mapped))
        return Mapped(self.library, mapped, length)

    def pin(self, offset, length, purpose=b"accept"):
        pin = c.c_void_p()
        options = PinOptions(1, 0, 0, FOREVER, purpose)
        self.library.call("hf_pin_file", self.handle, c.c_uint64(offset), c.c_uint64(length), c.byref(options),
                          c.byref(pin))
        return pin

    def close(self):
        self.library.lib.hf_close(self.handle)


class Mapped:
    """A window."""

    def __init__(self, library, handle, length):
        self.library = library
        self.handle = handle
        self.length = length
        self.address = library.lib.hf_mapped_address(handle)

    def touch(self):
        for at in range(0, self.length, 4096):
            c.memset(self.address + at, 1, 1)

    def close(self):
        self.library.lib.hf_unmap(self.handle)
