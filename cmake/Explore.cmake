# The protocol's small programs under every schedule: the sources of base, pagemap, mapping and layout once more,
# compiled with the scheduler's seam; and the same with each of the known bugs in tests/explore/bugs, which must be
# found.

file(GLOB protocol_sources CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/src/base/*.cc" "${PROJECT_SOURCE_DIR}/src/pagemap/*.cc"
     "${PROJECT_SOURCE_DIR}/src/mapping/*.cc" "${PROJECT_SOURCE_DIR}/src/layout/*.cc")
file(GLOB explore_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/explore/*.cc")

# Archives: an object with a bug in it is linked first, and its namesake stays out.
add_library(explore_parts STATIC ${protocol_sources} ${explore_sources})
target_compile_definitions(explore_parts PUBLIC HOLDFAST_SCHEDULER=1)
target_include_directories(explore_parts PUBLIC "${PROJECT_SOURCE_DIR}/tests")
target_link_libraries(explore_parts PUBLIC hf_flags hf_include fmt::fmt Threads::Threads)

function(holdfast_add_explorer name)
  add_executable(${name} ${ARGN})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(${name} PRIVATE explore_parts)
  # main() and the programs come from the archive.
  target_link_options(${name} PRIVATE LINKER:--undefined=main)
endfunction()

file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/seeded/empty.cc" "")
holdfast_add_explorer(explore "${CMAKE_CURRENT_BINARY_DIR}/seeded/empty.cc")
file(GLOB program_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/explore/*_programs.cc")
set(lines "")
foreach(source IN LISTS program_sources)
  file(STRINGS "${source}" some REGEX "program<[A-Za-z]+>\\(\"")
  list(APPEND lines ${some})
endforeach()
foreach(line IN LISTS lines)
  string(REGEX REPLACE ".*program<[A-Za-z]+>\\(\"([a-z-]+)\".*" "\\1" program "${line}")
  add_test(NAME explore/${program} COMMAND explore ${program})
  set_tests_properties(explore/${program} PROPERTIES TIMEOUT 900 LABELS explore)
endforeach()

# What finds a bug says so, and with how many schedules.
function(holdfast_add_explorer_test test program word)
  add_test(NAME ${test} COMMAND ${program} ${word})
  set_tests_properties(${test} PROPERTIES TIMEOUT 300 LABELS explore
                                          PASS_REGULAR_EXPRESSION "found after [0-9]+ schedules")
endfunction()
holdfast_add_seeded_bugs("${PROJECT_SOURCE_DIR}/tests/explore/bugs" explore holdfast_add_explorer)
