#!/usr/bin/env python3
"""One million names in one directory: made by us, listed and looked up by the kernel.

usage: million_names.py PROGRAM LIBRARY [COUNT]
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from holdfast_c import CREATE, EXCLUSIVE, WRITE, Library, Pool  # noqa: E402


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096


def main():
    program, library = sys.argv[1], Library(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    work = tempfile.mkdtemp(prefix="holdfast-accept-", dir="/dev/shm")
    path = os.path.join(work, "pool")
    try:
        size = f"{count * 20 // 1024 + 256}M"
        subprocess.run([program, "mkfs", path, "--size", size], check=True, stdout=subprocess.DEVNULL)
        pool = Pool(library, path)
        pool.mkdir("/d")
        start = time.monotonic()
        for i in range(count):
            pool.open(f"/d/name-{i}", WRITE | CREATE | EXCLUSIVE).close()
        print(f"created {count} names in {time.monotonic() - start:.1f} s (through ctypes)")
        pool.unmount()

        pool = Pool(library, path, read_only=True)
        start = time.monotonic()
        pool.stat_exists(f"/d/name-{count // 2}")
        print(f"first lookup after mount: {(time.monotonic() - start) * 1e6:.0f} us")
        before = resident_bytes()
        for i in range(count):
            pool.stat_exists(f"/d/name-{i}")
        print(f"bytes per cached name after looking up all: {(resident_bytes() - before) / count:.0f}")
        pool.unmount()

        subprocess.run(["e2fsck", "-fn", path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print("e2fsck -fn: clean")
        at = os.path.join(work, "kernel")
        os.mkdir(at)
        if subprocess.run(["mount", "-o", "ro,loop,noload", path, at], check=False).returncode != 0:
            print("SKIP-CAPABILITY: loop: the kernel could not mount the pool here")
            return
        try:
            listed = sum(1 for _ in os.scandir(os.path.join(at, "d")))
            subprocess.run(["sh", "-c", "echo 2 > /proc/sys/vm/drop_caches"], check=False)
            names = [f"name-{random.Random(i).randrange(count)}" for i in range(1000)]
            start = time.monotonic()
            for name in names:
                os.lstat(os.path.join(at, "d", name))
            taken = time.monotonic() - start
            print(f"the kernel lists {listed} names and looks up 1,000 of them in {taken * 1000:.0f} ms")
            if listed != count or taken > 1:
                sys.exit("FAILED")
        finally:
            subprocess.run(["umount", at], check=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("PASSED")


if __name__ == "__main__":
    main()
