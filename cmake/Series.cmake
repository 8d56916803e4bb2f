# The obligations of the series (tests/series), and for each a change of the sources that breaks it, with which its test
# must fail. The test program is built from an archive of the library's objects, so that changed ones go before.

holdfast_layer_objects(series_objects ${HOLDFAST_LIBRARY_LAYERS})
add_library(series_parts STATIC ${series_objects} series/obligations_test.cc)
target_include_directories(series_parts PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}")
target_compile_definitions(series_parts PUBLIC HOLDFAST_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
target_link_libraries(series_parts PUBLIC hf_flags hf_include test_support GTest::gmock GTest::gtest_main
                                          PkgConfig::EXT2FS fmt::fmt Threads::Threads)

function(holdfast_add_series name)
  add_executable(${name} ${ARGN})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  # The library and the helpers of tests need each other; the tests themselves are named by nobody.
  target_link_libraries(${name} PRIVATE series_parts test_support series_parts)
  target_link_options(${name} PRIVATE LINKER:--undefined=holdfast_series)
endfunction()

function(holdfast_add_series_test test program word)
  # A bug may end the process by a signal, too: any end but a pass counts, and says so.
  add_test(NAME ${test} COMMAND sh -c "\"$0\" --gtest_filter=\"$1\" || echo the bug was noticed"
                                $<TARGET_FILE:${program}> "*.${word}_*")
  set_tests_properties(${test} PROPERTIES TIMEOUT 120 LABELS series PASS_REGULAR_EXPRESSION "the bug was noticed")
endfunction()
holdfast_add_seeded_bugs("${PROJECT_SOURCE_DIR}/tests/series/bugs" series holdfast_add_series)

# Patch 11: no warning. A source with one does not build.
add_library(series_warning OBJECT EXCLUDE_FROM_ALL series/warning/unused.cc)
target_link_libraries(series_warning PRIVATE hf_flags hf_include)
add_test(NAME series/P11_AWarningFailsTheBuild
         COMMAND "${CMAKE_COMMAND}" --build "${PROJECT_BINARY_DIR}" --target series_warning)
set_tests_properties(series/P11_AWarningFailsTheBuild PROPERTIES TIMEOUT 120 LABELS series
                                                                 PASS_REGULAR_EXPRESSION "error: unused variable")
