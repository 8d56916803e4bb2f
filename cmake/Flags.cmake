# hf_flags: how our own code is compiled. Linked privately by every target of the project, never exported.
add_library(hf_flags INTERFACE)
target_compile_features(hf_flags INTERFACE cxx_std_20)

set(warnings
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wnon-virtual-dtor
    -Woverloaded-virtual -Wimplicit-fallthrough -Wformat=2)
if(HOLDFAST_WERROR)
  list(APPEND warnings -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  list(APPEND warnings -Wthread-safety)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports std::string concatenation as overlapping copies (GCC bug 105651).
  list(APPEND warnings -Wno-restrict)
endif()
set(c_warnings ${warnings})
list(REMOVE_ITEM c_warnings -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual)
target_compile_options(hf_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>" "$<$<COMPILE_LANGUAGE:C>:${c_warnings}>")

target_compile_definitions(hf_flags INTERFACE HOLDFAST_VERSION_STRING="${PROJECT_VERSION}")
if(HOLDFAST_TEST_HOOKS)
  target_compile_definitions(hf_flags INTERFACE HOLDFAST_TEST_HOOKS=1)
endif()
if(HOLDFAST_DEBUG_CHECKS)
  target_compile_definitions(hf_flags INTERFACE HOLDFAST_DEBUG_CHECKS=1 _GLIBCXX_ASSERTIONS)
endif()

if(HOLDFAST_BUILD_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Sanitizers apply to everything that is linked together, hence to the directory, not to one target.
if(HOLDFAST_SANITIZE)
  string(REPLACE ";" "," sanitizers "${HOLDFAST_SANITIZE}")
  add_compile_options(-fsanitize=${sanitizers} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${sanitizers})
  if(sanitizers MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
  if(sanitizers MATCHES "thread")
    # The shadow memory of libtsan 12 cannot be placed under high-entropy address randomization.
    set(CMAKE_CROSSCOMPILING_EMULATOR setarch -R)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # A fence is invisible to ThreadSanitizer; say so, but do not refuse to build.
      add_compile_options(-Wno-error=tsan)
    endif()
  endif()
endif()
