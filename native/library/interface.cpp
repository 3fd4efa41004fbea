// The CPU half of gfpq.hpp: the codec behind the documented names, and a line on standard error where it says no.

#include <cstdio>
#include <cstring>

#include "console.hpp"
#include "gfpq.hpp"
#include "../src/codec.hpp"

namespace {

template <class T>
int run(const char* function, T* data, unsigned count, unsigned bit_width, GFPQ_PARAM_ST* parameters) noexcept {
    using gfpq::library::complain;
    if (data != nullptr && gfpq::library::is_gpu_memory(data)) {
        return complain(function, gfpq::kBadParameter,
                        "the data pointer %p is GPU memory, and this function works on CPU memory: call "
                        "HI_GFPQ_QuantAndDeQuant_GPU, or copy the data to the CPU first",
                        static_cast<const void*>(data));
    }
    if (parameters != nullptr && gfpq::library::is_gpu_memory(parameters)) {
        return complain(function, gfpq::kBadParameter,
                        "the parameter pointer %p is GPU memory: the block is kept in CPU memory",
                        static_cast<const void*>(parameters));
    }
    const unsigned mode = parameters != nullptr ? parameters->mode : GFPQ_MODE_INIT;
    unsigned char* block = parameters != nullptr ? parameters->buf : nullptr;
    const int code = gfpq::quantize_dequantize(data, count, bit_width, mode, block);
    if (code == gfpq::kSuccess) return code;
    if (code == gfpq::kBadFormat) {
        return complain(function, code, "bit width %u does not exist: GFPQ has 8 and 16", bit_width);
    }
    if (code == gfpq::kBadParameter) return complain(function, code, "the data pointer is NULL (count %u)", count);
    if (code == gfpq::kOutOfMemory) return complain(function, code, "working memory could not be had");
    return complain(function, code, "quantizing %u values at %u bit failed", count, bit_width);
}

// The compiler's version as one number, since that is what the structure has room for.
constexpr unsigned compiler_revision() noexcept {
#if defined(__clang__)
    return __clang_major__ * 10000 + __clang_minor__ * 100 + __clang_patchlevel__;
#elif defined(__GNUC__)
    return __GNUC__ * 10000 + __GNUC_MINOR__ * 100 + __GNUC_PATCHLEVEL__;
#elif defined(_MSC_FULL_VER)
    return _MSC_FULL_VER;
#else
    return 0;
#endif
}

}  // namespace

int HI_GFPQ_QuantAndDeQuant(float* pf32FloatData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                            GFPQ_PARAM_ST* pstParam) {
    return run("HI_GFPQ_QuantAndDeQuant", pf32FloatData, u32DataCnt, u32BitWidth, pstParam);
}

int HI_GFPQ_QuantAndDeQuant(double* p64DoubleData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                            GFPQ_PARAM_ST* pstParam) {
    return run("HI_GFPQ_QuantAndDeQuant", p64DoubleData, u32DataCnt, u32BitWidth, pstParam);
}

int HI_GFPQ_QuantAndDeQuant_PY(float* pf32FloatData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                               GFPQ_PARAM_ST* pstParam) {
    return run("HI_GFPQ_QuantAndDeQuant_PY", pf32FloatData, u32DataCnt, u32BitWidth, pstParam);
}

int HI_GFPQ_GetInfo(GFPQ_INFO_ST* pstInfo) {
    if (pstInfo == nullptr) {
        return gfpq::library::complain("HI_GFPQ_GetInfo", gfpq::kBadParameter, "the info pointer is NULL");
    }
    GFPQ_INFO_ST info;
    std::memset(&info, 0, sizeof info);
    info.u32LibVerMajor = GFPQ_VERSION_MAJOR;
    info.u32LibVerMinor = GFPQ_VERSION_MINOR;
    info.u32LibVerPatch = GFPQ_VERSION_PATCH;
    info.u32LibSoVer = GFPQ_SOVERSION;
    info.u32ComRevision = compiler_revision();
    // Compilers take both from SOURCE_DATE_EPOCH where it is set, so builds can be repeated bit for bit.
    std::snprintf(info.u8BuildTime, sizeof info.u8BuildTime, "%s %s", __DATE__, __TIME__);
    *pstInfo = info;
    return gfpq::kSuccess;
}
