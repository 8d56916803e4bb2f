// The lock table. A thread takes mutexes only in rising rank; debug builds check it and print both sites.
//
// | rank            | protects                                             | must not be done while held              |
// |-----------------|------------------------------------------------------|------------------------------------------|
// | filesystem      | mount state, unmount, the inode table's lifetimes    | wait for a pin, touch user memory        |
// | rename          | the shape of the directory tree                      | wait for a pin, touch user memory        |
// | inode           | an inode's size, attributes, extent map changes      | wait for a pin, touch user memory        |
// | handle          | (counts as a lock) an open transaction               | wait for a pin, touch user memory        |
// | format          | ext4 metadata: superblock, groups, libext2fs         | wait for anything but the device         |
// | allocator       | free space                                           | wait, allocate metadata                  |
// | block_cache     | the table of cached metadata blocks                  | wait                                     |
// | break_list      | active breaks and closed gates of one mapping        | wait (but on its own condition)          |
// | windows         | the windows of one file and what they show           | wait for a pin or a gate, touch a window |
// | tree            | one mapping's tree of entries                        | wait, allocate from the device           |
// | extent_cache    | one inode's cached extents                           | wait                                     |
// | pin_table       | the list of threads' slot tables                     | wait                                     |
// | inode_table     | inodes by number, their references and states        | wait, ask the format                     |
// | quarantine      | what is out of a file and not yet reusable           | wait                                     |
// | poison          | what is lost of a device                             | anything but list work                   |
// | wait_bucket     | waiters hashed to one bucket                         | anything but list work                   |
// | epoch           | retired memory                                       | anything but list work                   |
// | leaf            | small private state; nothing is taken under it       | take another lock                        |
#pragma once

#include <cstdint>

namespace holdfast {

enum class LockRank : std::uint8_t {
  filesystem,
  rename,
  inode,
  handle,
  format,
  allocator,
  block_cache,
  break_list,
  windows,
  tree,
  extent_cache,
  pin_table,
  inode_table,
  quarantine,
  poison,
  wait_bucket,
  epoch,
  leaf,
};

const char* to_string(LockRank rank);

}  // namespace holdfast
