# Known bugs, kept as small changes of the sources in *.bug files (tools/seed-bug), and a program for each that must find
# it: the changed sources are compiled anew and linked before an archive of everything else, so that their namesakes in the
# archive stay out.

# holdfast_add_seeded_bugs(<folder of .bug files> <prefix of program and test names> <function that makes the program>):
# calls <function>(<program> <source>...) for each bug, and <function>_test(<test> <program> <word>), with the word that
# the bug's file names as its program.
function(holdfast_add_seeded_bugs folder prefix make)
  file(GLOB bugs CONFIGURE_DEPENDS "${folder}/*.bug")
  file(GLOB headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/pagemap/*.h" "${PROJECT_SOURCE_DIR}/src/mapping/*.h")
  foreach(bug IN LISTS bugs)
    get_filename_component(name "${bug}" NAME_WE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${bug}")
    execute_process(COMMAND python3 "${PROJECT_SOURCE_DIR}/tools/seed-bug" --names "${bug}"
                    OUTPUT_VARIABLE words OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    separate_arguments(words)
    list(POP_FRONT words word)
    set(seeded "${CMAKE_CURRENT_BINARY_DIR}/seeded/${prefix}_${name}")
    set(sources ${words})
    list(TRANSFORM sources PREPEND "${seeded}/")
    list(TRANSFORM words PREPEND "${PROJECT_SOURCE_DIR}/")
    add_custom_command(OUTPUT ${sources}
                       COMMAND python3 "${PROJECT_SOURCE_DIR}/tools/seed-bug" "${bug}" "${seeded}"
                       COMMAND "${CMAKE_COMMAND}" -E touch ${sources}
                       DEPENDS "${bug}" ${words} ${headers} "${PROJECT_SOURCE_DIR}/tools/seed-bug" VERBATIM)
    cmake_language(CALL ${make} ${prefix}_${name} ${sources})
    target_include_directories(${prefix}_${name} BEFORE PRIVATE "${seeded}/src")
    cmake_language(CALL ${make}_test ${prefix}/finds/${name} ${prefix}_${name} ${word})
  endforeach()
endfunction()
