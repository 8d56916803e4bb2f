#!/usr/bin/env python3
"""A real tree through a pool and back, judged by others.

put, get, compare; e2fsck; the kernel's ext4 by loop (where root); then random deletes, renames, truncates and punches
over a third of it, applied to the pool and to the copy alike: still clean, still identical, free blocks exact.

usage: tree.py PROGRAM LIBRARY [SOURCE [WORK_DIRECTORY [SEED]]]
"""
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compare_trees import compare, walk  # noqa: E402
from holdfast_c import HoldfastError, Library, Pool  # noqa: E402


def run(*command, codes=(0,)):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        sys.exit(f"FAILED ({done.returncode}): {' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def step(text):
    print(f"[{time.monotonic() - START:7.1f} s] {text}", flush=True)


def no_difference(differences, what):
    differences = list(differences)
    for line in differences[:20]:
        print("  different:", line)
    if differences:
        sys.exit(f"FAILED: {what}: {len(differences)} differences")
    step(f"{what}: identical")


def check_clean(pool):
    run("e2fsck", "-fn", pool)
    step("e2fsck -fn: clean")


def check_free_blocks(program, pool):
    """What we say is free is what dumpe2fs counts, in the superblock and over the groups."""
    told = json.loads(run(program, "df", "--json", pool))
    head = run("dumpe2fs", "-h", pool)
    fields = dict(line.split(":", 1) for line in head.splitlines() if ":" in line)
    free, size = int(fields["Free blocks"]), int(fields["Block size"])
    groups = run("dumpe2fs", pool)
    summed = 0
    for line in groups.splitlines():
        words = line.split()
        if len(words) > 2 and words[1] == "free" and words[2].startswith(("blocks", "clusters")):
            summed += int(words[0])
    ours = told[0]["free"]
    if ours != free * size or summed != free:
        sys.exit(f"FAILED: free: ours {ours}, superblock {free * size}, groups {summed * size}")
    step(f"free blocks: {free} by us, the superblock and the groups")


def check_by_kernel(pool, copy, work, name):
    at = os.path.join(work, "kernel")
    os.makedirs(at, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "ext4", "-o", "ro,loop,noload", pool, at], capture_output=True, text=True,
                             check=False)
    if mounted.returncode != 0:
        print(f"SKIP-CAPABILITY: loop: {mounted.stderr.strip()}")
        return
    try:
        no_difference(compare(copy, os.path.join(at, name)), "the kernel's ext4 shows the same tree")
    finally:
        run("umount", at)


def mutate(library, pool_path, copy, name, seed):
    """The same random changes to the pool and to the copy, over a third of the files."""
    randomly = random.Random(seed)
    pool = Pool(library, pool_path)
    files = sorted(path for path, status in walk(copy).items()
                   if stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
    chosen = randomly.sample(files, len(files) // 3)
    counts = {"delete": 0, "rename": 0, "truncate": 0, "punch": 0}
    for number, path in enumerate(chosen):
        inside, outside = f"/{name}/{path}", os.path.join(copy, path)
        size = os.lstat(outside).st_size
        what = randomly.choice(list(counts))
        times = os.lstat(os.path.dirname(outside)), os.lstat(outside)
        if what == "delete":
            pool.unlink(inside)
            os.unlink(outside)
        elif what == "rename":
            pool.rename(inside, f"{inside}.moved-{number}")
            os.rename(outside, f"{outside}.moved-{number}")
        elif what == "truncate":
            to = randomly.randrange(0, 2 * size + 1)
            file = pool.open(inside)
            file.truncate(to)
            file.close()
            os.truncate(outside, to)
        else:
            start = randomly.randrange(0, size + 1)
            length = randomly.randrange(1, max(2, size - start + 1))
            file = pool.open(inside)
            file.punch(start, length)
            file.close()
            with open(outside, "r+b", buffering=0) as other:
                end = min(start + length, size)
                run_punch(other.fileno(), start, end - start)
        counts[what] += 1
        del times
    pool.unmount()
    step(f"changed a third: {counts}")


def run_punch(descriptor, offset, length):
    if length <= 0:
        return
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(descriptor, 3, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def same_but_times(differences):
    """After changes made at two moments, modification times differ and say nothing."""
    return (line for line in differences if not line.startswith("st_mtime_ns"))


def main():
    program = os.path.realpath(sys.argv[1])
    library = Library(os.path.realpath(sys.argv[2]))  # now, not after ten minutes
    source = os.path.realpath(sys.argv[3] if len(sys.argv) > 3 else "/usr")
    base = sys.argv[4] if len(sys.argv) > 4 else "/var/tmp"
    seed = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    work = tempfile.mkdtemp(prefix="holdfast-accept-", dir=base)
    pool_directory = tempfile.mkdtemp(prefix="holdfast-accept-", dir="/dev/shm")
    pool, copy = os.path.join(pool_directory, "pool"), os.path.join(work, "copy")
    name = os.path.basename(source)
    try:
        tree = walk(source)
        size = sum(status.st_blocks * 512 for status in tree.values())
        step(f"{source}: {len(tree)} names, {size / 2**30:.2f} GiB")
        run(program, "mkfs", pool, "--size", f"{int(size * 1.15 / 2**20) + 256 + len(tree) // 20}M")
        step(run(program, "put", pool, source, "/").strip() or "put")
        os.mkdir(copy)
        step(run(program, "get", pool, f"/{name}", copy).strip() or "get")
        copy = os.path.join(copy, name)
        no_difference(compare(source, copy), "put and get")
        check_clean(pool)
        check_free_blocks(program, pool)
        check_by_kernel(pool, copy, work, name)
        mutate(library, pool, copy, name, seed)
        check_clean(pool)
        check_free_blocks(program, pool)
        again = os.path.join(work, "again")
        os.mkdir(again)
        run(program, "get", pool, f"/{name}", again)
        no_difference(same_but_times(compare(copy, os.path.join(again, name), holes=False)), "after the changes")
        step(run(program, "df", pool).strip())
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(pool_directory, ignore_errors=True)
    print("PASSED")


START = time.monotonic()
if __name__ == "__main__":
    try:
        main()
    except HoldfastError as error:
        sys.exit(f"FAILED: {error}")
