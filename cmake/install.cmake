# cmake --install <build> --prefix <folder>: the program and the plans that ship. With
# --component libraries also every shared library that it needs, C library and GPU driver left out, so
# that the folder runs on another machine of the same or a newer C library.
install(TARGETS lycheedecode RUNTIME_DEPENDENCY_SET program_libraries
        RUNTIME DESTINATION bin COMPONENT program)
install(DIRECTORY plans/ DESTINATION share/lycheedecode/plans COMPONENT program)
set(not_carried "^ld-linux" "^libc\\.so" "^libm\\.so" "^libpthread\\.so" "^libdl\\.so" "^librt\\.so"
                "^libresolv\\.so" "^libcuda\\.so" "^libnvidia")
install(RUNTIME_DEPENDENCY_SET program_libraries DESTINATION lib COMPONENT libraries EXCLUDE_FROM_ALL
        PRE_EXCLUDE_REGEXES ${not_carried} POST_EXCLUDE_REGEXES "/ld-linux")
set_target_properties(lycheedecode PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
# The newer tag, which linkers write by default, is not searched for what the libraries need themselves.
target_link_options(lycheedecode PRIVATE LINKER:--disable-new-dtags)
