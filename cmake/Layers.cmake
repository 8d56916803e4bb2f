# One object library hf_<layer> for each line of cmake/layers.txt, linked only to the layers named there,
# so that neither an include nor a symbol can point upward.

# holdfast_read_layers(): sets HOLDFAST_LAYERS (in order) and HOLDFAST_BELOW_<layer>.
macro(holdfast_read_layers)
  set(HOLDFAST_LAYERS "")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/layers.txt")
  file(STRINGS "${PROJECT_SOURCE_DIR}/cmake/layers.txt" _lines REGEX "^[a-z0-9_]+:")
  foreach(_line IN LISTS _lines)
    string(REGEX MATCH "^([a-z0-9_]+):(.*)$" _matched "${_line}")
    set(_layer "${CMAKE_MATCH_1}")
    string(REGEX MATCHALL "[a-z0-9_]+" HOLDFAST_BELOW_${_layer} "${CMAKE_MATCH_2}")
    list(REMOVE_ITEM HOLDFAST_BELOW_${_layer} public)
    list(APPEND HOLDFAST_LAYERS "${_layer}")
  endforeach()
endmacro()

# holdfast_add_layer(<layer>): the library hf_<layer>. A folder without sources gives an interface library. What a layer
# needs from other packages stands in HOLDFAST_PACKAGES_<layer>.
function(holdfast_add_layer layer)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${layer}/*.cc")
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  set(below ${HOLDFAST_BELOW_${layer}})
  list(TRANSFORM below PREPEND hf_)
  if(sources)
    add_library(hf_${layer} OBJECT ${sources})
    set_target_properties(hf_${layer} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(hf_${layer} PRIVATE hf_flags PUBLIC hf_include ${below} ${HOLDFAST_PACKAGES_${layer}})
  else()
    add_library(hf_${layer} INTERFACE)
    target_link_libraries(hf_${layer} INTERFACE hf_include ${below} ${HOLDFAST_PACKAGES_${layer}})
  endif()
endfunction()

# holdfast_layer_objects(<variable> <layer>...): the object files of the layers that have sources.
function(holdfast_layer_objects variable)
  set(objects "")
  foreach(layer IN LISTS ARGN)
    get_target_property(type hf_${layer} TYPE)
    if(type STREQUAL "OBJECT_LIBRARY")
      list(APPEND objects "$<TARGET_OBJECTS:hf_${layer}>")
    endif()
  endforeach()
  set(${variable} "${objects}" PARENT_SCOPE)
endfunction()
