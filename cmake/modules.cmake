# Flags of our own targets; third-party headers come as SYSTEM.
add_library(lychee_flags INTERFACE)
target_compile_options(lychee_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Werror)
target_include_directories(lychee_flags INTERFACE ${PROJECT_SOURCE_DIR}/include
                                                  ${PROJECT_SOURCE_DIR}/src)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these inside libstdc++ and Highway after inlining.
  target_compile_options(lychee_flags INTERFACE -Wno-restrict -Wno-stringop-overflow
                                                -Wno-array-bounds -Wno-maybe-uninitialized)
endif()
if(LYCHEE_SANITIZE)
  target_compile_options(lychee_flags INTERFACE -fsanitize=${LYCHEE_SANITIZE}
                                                -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(lychee_flags INTERFACE -fsanitize=${LYCHEE_SANITIZE})
endif()
if(LYCHEE_FUZZ)
  target_compile_options(lychee_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# lychee_module(<name> DEPS <modules> LIBS <libraries>): the static library lychee_<name> of all
# sources under src/<name>. What lies in reference/ goes to lychee_<name>_reference, which tests alone
# link; main.cc belongs to no library.
function(lychee_module name)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  set(reference ${sources})
  list(FILTER reference INCLUDE REGEX "/reference/")
  list(FILTER sources EXCLUDE REGEX "/reference/|/main\\.cc$|/cuda/")
  list(TRANSFORM ARG_DEPS PREPEND lychee_)
  if(sources)
    add_library(lychee_${name} STATIC ${sources})
    target_link_libraries(lychee_${name} PUBLIC ${ARG_DEPS} ${ARG_LIBS} PRIVATE lychee_flags)
    target_include_directories(lychee_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include
                                                     ${PROJECT_SOURCE_DIR}/src)
  else()
    add_library(lychee_${name} INTERFACE)
    target_link_libraries(lychee_${name} INTERFACE ${ARG_DEPS} ${ARG_LIBS})
  endif()
  if(reference)
    add_library(lychee_${name}_reference STATIC ${reference})
    target_link_libraries(lychee_${name}_reference PUBLIC lychee_${name} PRIVATE lychee_flags)
  endif()
endfunction()

function(lychee_program name main)
  add_executable(${name} ${main})
  list(TRANSFORM ARGN PREPEND lychee_)
  target_link_libraries(${name} PRIVATE ${ARGN} lychee_flags)
endfunction()

# lychee_embedded_text(<module> <template> <name> <file>…): adds the source <template> (*.cc.in, in the
# module's folder) with the text of each file, relative to the checkout, in the place of @<name>@.
function(lychee_embedded_text module template)
  while(ARGN)
    list(POP_FRONT ARGN name file)
    file(READ ${PROJECT_SOURCE_DIR}/${file} ${name})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${file})
  endwhile()
  string(REGEX REPLACE "\\.in$" "" source ${template})
  configure_file(${PROJECT_SOURCE_DIR}/src/${module}/${template} ${PROJECT_BINARY_DIR}/${source} @ONLY)
  target_sources(lychee_${module} PRIVATE ${PROJECT_BINARY_DIR}/${source})
endfunction()
