"""Whether two directory trees are the same: contents, modes, owners, times, hard links, symbolic links, extended
attributes, device nodes, holes."""
import os
import stat

CHUNK = 8 << 20


def walk(root):
    """Relative path -> lstat, the root itself as '.'."""
    found = {".": os.lstat(root)}
    pending = [root]
    while pending:
        directory = pending.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found[os.path.relpath(entry.path, root)] = status
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
    return found


def link_groups(tree):
    """The sets of names that share an inode."""
    groups = {}
    for path, status in tree.items():
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
            groups.setdefault((status.st_dev, status.st_ino), set()).add(path)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def data_ranges(descriptor, size):
    """Ranges with data, at the granularity of pages."""
    ranges, at = [], 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        ranges.append((start, min(at, size)))
    return ranges


def xattrs(path):
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}


def same_content(a, b, size, holes):
    with open(a, "rb", buffering=0) as first, open(b, "rb", buffering=0) as second:
        if holes and data_ranges(first.fileno(), size) != data_ranges(second.fileno(), size):
            return "holes"
        while True:
            left, right = first.read(CHUNK), second.read(CHUNK)
            if left != right:
                return "contents"
            if not left:
                return None


def compare(source, copy, holes=True, ignore=()):
    """Yields a line for each difference. `ignore`: relative paths that are in `copy` only by its nature."""
    ours, theirs = walk(source), walk(copy)
    for path in ignore:
        theirs.pop(path, None)
    yield from (f"missing: {path}" for path in sorted(ours.keys() - theirs.keys()))
    yield from (f"too much: {path}" for path in sorted(theirs.keys() - ours.keys()))
    for path in sorted(ours.keys() & theirs.keys()):
        a, b = ours[path], theirs[path]
        full_a, full_b = os.path.join(source, path), os.path.join(copy, path)
        for field in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
            if getattr(a, field) != getattr(b, field):
                yield f"{field}: {path}: {getattr(a, field)} {getattr(b, field)}"
        if stat.S_ISLNK(a.st_mode):
            if os.readlink(full_a) != os.readlink(full_b):
                yield f"target: {path}"
        elif stat.S_ISREG(a.st_mode):
            if a.st_size != b.st_size:
                yield f"size: {path}: {a.st_size} {b.st_size}"
            elif (difference := same_content(full_a, full_b, a.st_size, holes)) is not None:
                yield f"{difference}: {path}"
        elif stat.S_ISCHR(a.st_mode) or stat.S_ISBLK(a.st_mode):
            if a.st_rdev != b.st_rdev:
                yield f"device: {path}"
        if xattrs(full_a) != xattrs(full_b):
            yield f"extended attributes: {path}"
    if link_groups(ours) != link_groups(theirs):
        yield "hard links: different groups"
