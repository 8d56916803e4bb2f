# Bugs of the journal's order, each a small change of the sources in tests/sim/bugs, which the crash explorer must find:
# the short exploration of tests/sim, built from an archive so that changed sources go before.
holdfast_layer_objects(crash_library_objects ${HOLDFAST_LIBRARY_LAYERS})
add_library(crash_parts STATIC ${crash_library_objects} ${sim_objects} sim/crash_test.cc)
target_include_directories(crash_parts PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}")
target_link_libraries(crash_parts PUBLIC hf_flags hf_include test_support GTest::gmock GTest::gtest_main
                                         PkgConfig::EXT2FS fmt::fmt Threads::Threads)

function(holdfast_add_crash name)
  add_executable(${name} ${ARGN})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  # The library and the helpers of tests need each other; the tests themselves are named by nobody.
  target_link_libraries(${name} PRIVATE crash_parts test_support crash_parts)
  target_link_options(${name} PRIVATE LINKER:--undefined=holdfast_crash)
endfunction()

# What finds a bug says so, and with how many images. Not called crash_*, as programs are that run for long (tools/run-long).
function(holdfast_add_crash_test test program word)
  add_test(NAME ${test} COMMAND ${program} "--gtest_filter=Crash.${word}")
  set_tests_properties(${test} PROPERTIES TIMEOUT 120 LABELS crash PASS_REGULAR_EXPRESSION "found with [0-9]+ images")
endfunction()
holdfast_add_seeded_bugs("${CMAKE_CURRENT_SOURCE_DIR}/sim/bugs" sim holdfast_add_crash)
