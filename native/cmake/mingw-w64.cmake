# Builds gfpq.dll on Linux: cmake -DCMAKE_TOOLCHAIN_FILE=native/cmake/mingw-w64.cmake ...
# The POSIX flavour, because the other one of GCC 12 has no std::thread.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
find_program(wine NAMES wine64 wine)
if(wine)
    set(CMAKE_CROSSCOMPILING_EMULATOR "${wine}")
endif()
