# Flags of our own targets; third-party headers come as SYSTEM.
add_library(lychee_flags INTERFACE)
set(warnings -Wall -Wextra -Wpedantic -Wconversion -Werror)
target_include_directories(lychee_flags INTERFACE ${PROJECT_SOURCE_DIR}/include
                                                  ${PROJECT_SOURCE_DIR}/src)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these inside libstdc++ and Highway after inlining.
  list(APPEND warnings -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds
                       -Wno-maybe-uninitialized)
endif()
target_compile_options(lychee_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")
# What nvcc hands to the host compiler is generated, hence neither pedantic nor free of conversions.
target_compile_options(lychee_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Werror>"
  "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-lineinfo>"
  "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<CONFIG:Debug>>:-DLYCHEE_DEVICE_ASSERTS>")
if(LYCHEE_SANITIZE)
  target_compile_options(lychee_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${LYCHEE_SANITIZE};-fno-sanitize-recover=all>"
    $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>)
  target_link_options(lychee_flags INTERFACE -fsanitize=${LYCHEE_SANITIZE})
endif()
if(LYCHEE_FUZZ)
  target_compile_options(lychee_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# lychee_module(<name> DEPS <modules> LIBS <libraries>): the static library lychee_<name> of all
# sources under src/<name>. Of a folder named cuda/ it takes either its one absent.cc, or, in a build
# with CUDA, all but that; of one named cudnn/ the same for cuDNN. What lies in reference/ goes to lychee_<name>_reference, which tests alone
# link; main.cc belongs to no library.
function(lychee_module name)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS" ${ARGN})
  # Relative, so that the name of the checkout's own folder decides nothing.
  file(GLOB_RECURSE sources RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS
       ${PROJECT_SOURCE_DIR}/src/${name}/*.cc ${PROJECT_SOURCE_DIR}/src/${name}/*.cu)
  set(reference ${sources})
  list(FILTER reference INCLUDE REGEX "/reference/")
  set(absent ${sources})
  list(FILTER absent INCLUDE REGEX "/cuda/absent\\.cc$")
  set(cuda ${sources})
  list(FILTER cuda INCLUDE REGEX "/cuda/")
  list(FILTER cuda EXCLUDE REGEX "/cuda/absent\\.cc$|/cudnn/")
  set(cudnn ${sources})
  list(FILTER cudnn INCLUDE REGEX "/cudnn/")
  if(LYCHEE_WITH_CUDNN)
    list(FILTER cudnn EXCLUDE REGEX "/cudnn/absent\\.cc$")
  else()
    list(FILTER cudnn INCLUDE REGEX "/cudnn/absent\\.cc$")
  endif()
  list(FILTER sources EXCLUDE REGEX "/reference/|/main\\.cc$|/cuda/")
  if(LYCHEE_WITH_CUDA)
    list(APPEND sources ${cuda})
  else()
    list(APPEND sources ${absent})
  endif()
  list(APPEND sources ${cudnn})
  list(TRANSFORM ARG_DEPS PREPEND lychee_)
  if(sources)
    add_library(lychee_${name} STATIC ${sources})
    target_link_libraries(lychee_${name} PUBLIC ${ARG_DEPS} ${ARG_LIBS} PRIVATE lychee_flags)
    target_include_directories(lychee_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include
                                                     ${PROJECT_SOURCE_DIR}/src)
    if(LYCHEE_WITH_CUDA AND cuda)
      target_link_libraries(lychee_${name} PUBLIC CUDA::cudart_static)
    endif()
    if(LYCHEE_WITH_CUDNN AND cudnn)
      target_include_directories(lychee_${name} SYSTEM PRIVATE ${LYCHEE_CUDNN_INCLUDE_DIR})
    endif()
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
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
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
