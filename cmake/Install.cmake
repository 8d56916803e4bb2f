# Installation: headers, both libraries, the program, manual pages, a CMake package and a pkg-config file.
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/holdfast")

install(TARGETS holdfast_shared EXPORT holdfastTargets)
install(TARGETS holdfast_static EXPORT holdfastStaticTargets)
install(FILES ${public_headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/holdfast")
install(EXPORT holdfastTargets NAMESPACE holdfast:: DESTINATION "${package_dir}")
install(EXPORT holdfastStaticTargets NAMESPACE holdfast:: DESTINATION "${package_dir}")
configure_package_config_file(cmake/holdfastConfig.cmake.in "${PROJECT_BINARY_DIR}/holdfastConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/holdfastConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/holdfastConfig.cmake" "${PROJECT_BINARY_DIR}/holdfastConfigVersion.cmake"
        DESTINATION "${package_dir}")

# The prefix may be chosen at install time (cmake --install --prefix), so this file is made there.
install(CODE "
set(libdir \"${CMAKE_INSTALL_LIBDIR}\")
set(includedir \"${CMAKE_INSTALL_INCLUDEDIR}\")
set(version \"${PROJECT_VERSION}\")
set(description \"${PROJECT_DESCRIPTION}\")
configure_file(\"${PROJECT_SOURCE_DIR}/cmake/holdfast.pc.in\" \"${PROJECT_BINARY_DIR}/holdfast.pc\" @ONLY)")
install(FILES "${PROJECT_BINARY_DIR}/holdfast.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

foreach(section IN ITEMS 1 3 7)
  file(GLOB pages CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/man/*.${section}")
  install(FILES ${pages} DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
endforeach()
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
