# libgfpq_gpu: included by library/CMakeLists.txt where nvcc was found.

enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

# Machine code for every architecture that this nvcc knows; as PTX, which the driver compiles for a GPU without machine
# code, the oldest (for architectures between the listed ones) and the newest (for those still to come).
if(NOT GFPQ_CUDA_ARCHITECTURES)
    execute_process(COMMAND "${CMAKE_CUDA_COMPILER}" --list-gpu-arch OUTPUT_VARIABLE known OUTPUT_STRIP_TRAILING_WHITESPACE
        COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "[0-9]+" known "${known}")
    list(SORT known COMPARE NATURAL)
    list(POP_FRONT known oldest)
    list(POP_BACK known newest)
    list(TRANSFORM known APPEND "-real")
    set(GFPQ_CUDA_ARCHITECTURES ${oldest} ${known} ${newest})
endif()
message(STATUS "GPU code for ${GFPQ_CUDA_ARCHITECTURES}")

# What the error for a GPU without code names.
set(machine_code "")
set(portable_code "")
foreach(architecture IN LISTS GFPQ_CUDA_ARCHITECTURES)
    string(REGEX MATCH "[0-9]+[af]?" number "${architecture}")
    if(NOT architecture MATCHES "-virtual$")
        list(APPEND machine_code sm_${number})
    endif()
    if(NOT architecture MATCHES "-real$")
        list(APPEND portable_code compute_${number})
    endif()
endforeach()
list(JOIN machine_code ", " GFPQ_BUILT_FOR)
if(portable_code)
    list(JOIN portable_code ", " portable_code)
    string(APPEND GFPQ_BUILT_FOR " and PTX of ${portable_code}")
endif()

# One object for both libraries: compiling it once for a dozen architectures is enough.
add_library(gfpq_cuda OBJECT ../cuda/gpu.cu ../cuda/spelled_grid.cpp)
set_target_properties(gfpq_cuda PROPERTIES
    CUDA_ARCHITECTURES "${GFPQ_CUDA_ARCHITECTURES}" CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON
    POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_compile_definitions(gfpq_cuda PRIVATE "GFPQ_BUILT_FOR=\"${GFPQ_BUILT_FOR}\"")
target_compile_options(gfpq_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:--threads=0 -Xfatbin=-compress-all>
    $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)

gfpq_library(gfpq_gpu SHARED gfpq_gpu interface_with_gpu.cpp $<TARGET_OBJECTS:gfpq_cuda>)
gfpq_library(gfpq_gpu_static STATIC gfpq_gpu interface_with_gpu.cpp $<TARGET_OBJECTS:gfpq_cuda>)
# The CUDA runtime goes into the shared library, so that it loads on machines without CUDA, too.
target_link_libraries(gfpq_gpu PRIVATE CUDA::cudart_static)
target_link_libraries(gfpq_gpu_static PUBLIC CUDA::cudart_static)
set_target_properties(gfpq_gpu gfpq_gpu_static PROPERTIES LINKER_LANGUAGE CXX CUDA_STANDARD 17)
