# Decides whether this build has its CUDA half: LYCHEE_WITH_CUDA.
set(LYCHEE_CUDA_ARCHITECTURES "80-real;90a-real" CACHE STRING
    "GPU architectures; a developer of one GPU saves half of the build with 90a-real alone")
set(LYCHEE_WITH_CUDA OFF)
if(NOT LYCHEE_CUDA STREQUAL "OFF")
  if(NOT CMAKE_CUDA_COMPILER)
    find_program(LYCHEE_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
    if(LYCHEE_NVCC)
      set(CMAKE_CUDA_COMPILER ${LYCHEE_NVCC})
    endif()
  endif()
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES ${LYCHEE_CUDA_ARCHITECTURES})
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
    enable_language(CUDA)
    # CMake 3.25 does not know that nvcc speaks C++20; the standard itself is CMAKE_CXX_STANDARD.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    find_package(CUDAToolkit 13.0 REQUIRED)
    set(LYCHEE_WITH_CUDA ON)
  elseif(LYCHEE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "LYCHEE_CUDA=ON, but there is no nvcc on the PATH, in $CUDA_HOME/bin or "
                        "in /usr/local/cuda/bin. Install CUDA 13.0 or set CMAKE_CUDA_COMPILER.")
  endif()
endif()
message(STATUS "CUDA backend: ${LYCHEE_WITH_CUDA}")

# cuDNN's headers decide whether its attention for prompts is built in: LYCHEE_WITH_CUDNN. The library
# itself is looked for when the program runs.
set(LYCHEE_WITH_CUDNN OFF)
if(LYCHEE_WITH_CUDA)
  find_path(LYCHEE_CUDNN_INCLUDE_DIR cudnn_graph.h
            HINTS $ENV{CUDNN_HOME}/include ${CUDAToolkit_INCLUDE_DIRS}
            DOC "Folder of cuDNN's headers, 9.5 or newer; OFF: build without it")
  if(LYCHEE_CUDNN_INCLUDE_DIR)
    file(STRINGS ${LYCHEE_CUDNN_INCLUDE_DIR}/cudnn_version.h cudnn_version
         REGEX "#define CUDNN_(MAJOR|MINOR) +[0-9]+")
    list(TRANSFORM cudnn_version REPLACE "[^0-9]" "")
    list(JOIN cudnn_version "." cudnn_version)
    if(cudnn_version VERSION_GREATER_EQUAL 9.5 AND cudnn_version VERSION_LESS 10)
      set(LYCHEE_WITH_CUDNN ON)
    endif()
  endif()
  message(STATUS "cuDNN attention: ${LYCHEE_WITH_CUDNN} ${cudnn_version}")
endif()
