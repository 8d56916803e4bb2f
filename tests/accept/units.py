#!/usr/bin/env python3
"""Files are mapped in units of 2 MiB on every carrier that has such units: the kernel's own count says so.

usage: units.py PROGRAM LIBRARY [MEBIBYTES [TREE]]

On a fresh pool of each kind, a file of MEBIBYTES (1024) is written at once, by appends, and by allocate; mapped whole;
every page of it touched. /proc/self/smaps counts what page-table entries of 2 MiB map: at least 99 % of the file's whole
units, and exactly what the library says. Then TREE (/usr) is put into a new pool of 16 GiB: at least 98 % of the whole
units of its files lie so that they can be mapped as one.
"""
import contextlib
import ctypes as c
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from holdfast_c import CREATE, READ, WRITE, HoldfastError, Library, Pool  # noqa: E402

MIB = 1 << 20
UNIT = 2 * MIB
KNOB = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
LARGE = re.compile(r"(ShmemPmdMapped|FilePmdMapped|Shared_Hugetlb|Private_Hugetlb): +(\d+) kB")
failures = 0


class Unavailable(Exception):
    pass


def mapped_large(begin, end):
    """Bytes of [begin, end) that entries of 2 MiB or more map."""
    total, ours = 0, False
    with open("/proc/self/smaps", encoding="ascii", errors="replace") as smaps:
        for line in smaps:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if head:
                ours = int(head[1], 16) >= begin and int(head[2], 16) <= end
            elif ours and (found := LARGE.match(line)):
                total += int(found[2]) * 1024
    return total


def read_knob():
    with open(KNOB, encoding="ascii") as knob:
        return int(knob.read())


def write_knob(count):
    with open(KNOB, "w", encoding="ascii") as knob:
        knob.write(str(count))


@contextlib.contextmanager
def huge_pages(count):
    try:
        lock = open(KNOB, encoding="ascii")  # pylint: disable=consider-using-with
    except OSError as error:
        raise Unavailable(f"hugetlb: {error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the project's tests take it, too
        before = read_knob()
        try:
            write_knob(before + count)
        except OSError as error:
            raise Unavailable(f"hugetlb: {error}") from error
        try:
            if read_knob() < before + count:
                raise Unavailable("hugetlb: the kernel has too few huge pages")
            yield
        finally:
            write_knob(before)


@contextlib.contextmanager
def mounted(kind, options):
    at = tempfile.mkdtemp(prefix="holdfast-accept-")
    if subprocess.run(["mount", "-t", kind, "-o", options, "none", at], check=False, stderr=subprocess.DEVNULL).returncode:
        os.rmdir(at)
        raise Unavailable(f"mount: {kind} with {options} cannot be mounted here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)
        os.rmdir(at)


@contextlib.contextmanager
def directory(parent):
    at = tempfile.mkdtemp(prefix="holdfast-accept-", dir=parent)
    try:
        yield at
    finally:
        shutil.rmtree(at)


def memory(library, size, page_size):
    device = c.c_void_p()
    library.call("hf_device_memory", c.c_uint64(size), c.c_int(page_size), c.byref(device))
    return device


def file_in(library, folder, size):
    device = c.c_void_p()
    library.call("hf_device_create", os.fsencode(os.path.join(folder, "pool")), c.c_uint64(size), c.byref(device))
    return device


def fill(file, way, size):
    if way == "one write":
        file.write(0, bytes(size))
    elif way == "allocate":
        file.allocate(0, size)
    else:
        piece = bytes(4096 if way == "appends of 4 KiB" else MIB)
        for _ in range(size // len(piece)):
            file.append(piece)


def check(kind, pool, size, has_units=True):
    global failures
    for way in ("one write", "appends of 4 KiB", "appends of 1 MiB", "allocate"):
        file = pool.open("/file", READ | WRITE | CREATE)
        start = time.monotonic()
        fill(file, way, size)
        filled = time.monotonic() - start
        try:
            window = file.map(size)
        except HoldfastError as error:
            print(f"{kind:32} {way:18} cannot be mapped: {error.strerror}")
            failures += 1
            continue
        start = time.monotonic()
        window.touch()
        touched = time.monotonic() - start
        large = mapped_large(window.address, window.address + size)
        said = pool.unit_statistics().windows
        share = large / (size // UNIT * UNIT)
        # A file that begins small begins where small files lie: its first unit may be lost.
        enough = min(size // 100 * 99, size - UNIT) if "append" in way else size // 100 * 99
        # What the kernel's page cache does with a file on a disk is nobody's promise.
        right = not has_units or (said.in_2m + said.in_1g == large and large >= enough)
        failures += not right
        print(f"{kind:32} {way:18} {share:7.2%} in 2 MiB, the library says {(said.in_2m + said.in_1g) / size:7.2%}; "
              f"filled in {filled:.2f} s, touched in {touched:.2f} s{'' if right else '   WRONG'}")
        window.close()
        file.close()
        pool.unlink("/file")
        pool.sync()


def kinds(library, size):
    space = size + 256 * MIB
    pages = space // UNIT

    @contextlib.contextmanager
    def masked_memory():
        os.environ["HOLDFAST_MASK"] = "huge-tmpfs"
        try:
            yield memory(library, space, 0)
        finally:
            del os.environ["HOLDFAST_MASK"]

    @contextlib.contextmanager
    def huge_memory():
        with huge_pages(pages):
            yield memory(library, space, 1)

    @contextlib.contextmanager
    def huge_file():
        with huge_pages(pages), mounted("hugetlbfs", "pagesize=2M") as at:
            yield file_in(library, at, space)
            os.unlink(os.path.join(at, "pool"))

    @contextlib.contextmanager
    def file_on(parent):
        with parent as at:
            yield file_in(library, at, space)

    yield "memory", contextlib.nullcontext(memory(library, space, 0)), 0, True
    yield "memory without a private tmpfs", masked_memory(), 0, True
    # Large pages show whole ones only: a file that begins small has to begin a cluster of that size.
    yield "hugetlb memory", huge_memory(), UNIT, True
    yield "hugetlbfs file", huge_file(), UNIT, True
    yield "tmpfs file, huge=always", file_on(mounted("tmpfs", "huge=always")), 0, True
    yield "tmpfs file, huge=within_size", file_on(mounted("tmpfs", "huge=within_size")), 0, True
    yield "tmpfs file", file_on(directory("/dev/shm")), 0, True
    yield "disk file (promises no units)", file_on(directory(None)), 0, False


def check_tree(program, tree):
    global failures
    with directory(os.environ.get("TMPDIR", "/tmp")) as at:
        path = os.path.join(at, "pool")
        subprocess.run([program, "mkfs", path, "--size", "16G"], check=True, stdout=subprocess.DEVNULL)
        start = time.monotonic()
        subprocess.run([program, "put", path, tree, "/"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        took = time.monotonic() - start
        answer = subprocess.run([program, "df", "--json", path], check=True, stdout=subprocess.PIPE)
        df = json.loads(answer.stdout)[0]
        share = df["share_in_2m_units"]
        failures += share < 0.98
        print(f"put {tree} in {took:.0f} s: {df['files']} files, {df['file_bytes'] / MIB:.0f} MiB; {share:.2%} of their whole "
              f"units lie as one{'' if share >= 0.98 else '   WRONG'}")
        for name, count in df["units"].items():
            print(f"    {name:14} {count / MIB:10.1f} MiB")


def main():
    program, library = sys.argv[1], Library(sys.argv[2])
    size = (int(sys.argv[3]) if len(sys.argv) > 3 else 1024) * MIB
    for kind, made, cluster, has_units in kinds(library, size):
        try:
            with made as device:
                pool = Pool.new_on(library, device, cluster)
                check(kind, pool, size, has_units)
                pool.unmount()
        except Unavailable as reason:
            print(f"{kind:32} SKIP-CAPABILITY: {reason}")
    check_tree(program, sys.argv[4] if len(sys.argv) > 4 else "/usr")
    print("all as it should be" if failures == 0 else f"{failures} failures")
    return 1 if failures else 0


sys.exit(main())
