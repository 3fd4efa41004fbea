// The GFPQ interface: quantize to HiSilicon's GFPQ grid and dequantize again, in place.
//
// Names, values and layouts are those that existing programs are compiled against, so a program linked to the
// vendor's library runs on this one without being rebuilt. Link with -lgfpq (CPU) or -lgfpq_gpu (CPU and CUDA).
//
// On success every function returns GFPQ_SUCCESS. On any error it returns one of the GFPQ_ERR codes, leaves the data
// and the parameter block as they were, and writes one line to standard error that says what was wrong.

#ifndef GFPQ_HPP_
#define GFPQ_HPP_

// What a caller sees of the library. Define GFPQ_STATIC when linking the static library on Windows.
#if defined(_WIN32) && !defined(GFPQ_STATIC)
#if defined(GFPQ_BUILD)
#define GFPQ_API __declspec(dllexport)
#else
#define GFPQ_API __declspec(dllimport)
#endif
#elif defined(__GNUC__) && !defined(_WIN32)
#define GFPQ_API __attribute__((visibility("default")))
#else
#define GFPQ_API
#endif

// Widths of the quantized form. 8 bit: 16 steps an octave over 8 octaves. 16 bit: 128 steps an octave over 11 octaves.
#define GFPQ_BIT_WIDTH_8BIT (8)
#define GFPQ_BIT_WIDTH_16BIT (16)

// Where the coefficient comes from.
#define GFPQ_MODE_INIT (0)        // from the data; stored in the parameter block
#define GFPQ_MODE_UPDATE (1)      // the larger of the stored one and the one from the data; stored
#define GFPQ_MODE_APPLY_ONLY (2)  // the stored one; the block is only read

#define GFPQ_SUCCESS 0x00000000
#define GFPQ_ERR_GENERIC 0xFFFF0000         // anything without a code of its own, such as a failure inside CUDA
#define GFPQ_ERR_BAD_FORMAT 0xFFFF0005      // a bit width other than 8 and 16
#define GFPQ_ERR_BAD_PARAMETERS 0xFFFF0006  // a NULL pointer, or memory of the wrong side
#define GFPQ_ERR_OUT_OF_MEMORY 0xFFFF000C   // working memory could not be had
#define GFPQ_ERR_SHORT_BUFFER 0xFFFF0010    // reserved: no function of this library returns it
#define GFPQ_ERR_NOT_SUPPORT 0xFFFF0011     // a GPU function of the library that was built without CUDA

#define GFPQ_PARAM_LEN (16)
#define GFPQ_DATE_TIME_STR_LEN (64)
#define GFPQ_INFO_LEN_MAX (128)

// One tensor's coefficient, and what to do with it. 20 bytes.
typedef struct _GFPQ_PARAM_ST {
    unsigned int mode;                  // GFPQ_MODE_...; any other value means GFPQ_MODE_UPDATE
    unsigned char buf[GFPQ_PARAM_LEN];  // the coefficient in coded form: keep it, copy it, but do not edit it
} GFPQ_PARAM_ST;

// Which library this is.
typedef struct _GFPQ_INFO_ST {
    unsigned int u32LibVerMajor;
    unsigned int u32LibVerMinor;
    unsigned int u32LibVerPatch;
    unsigned int u32LibSoVer;                  // the number after libgfpq.so.
    unsigned int u32ComRevision;               // the compiler's version as one number: 120200 is GCC 12.2.0
    char u8BuildTime[GFPQ_DATE_TIME_STR_LEN];  // such as "Jun  2 2018 14:21:48"
} GFPQ_INFO_ST;

#ifdef __cplusplus

// Quantizes `u32DataCnt` values in CPU memory and dequantizes them again, in place.
//
// With a NULL `pstParam` the coefficient comes from the data and is stored nowhere. NaN and values too small for the
// grid become +0; values beyond the grid, infinities included, become its largest value. A count of 0 is a success.
// Calls from several threads may run at the same time as long as they share neither data nor block.
//
// Returns GFPQ_ERR_BAD_PARAMETERS where the data pointer is NULL or (libgfpq_gpu) points to GPU memory, and
// GFPQ_ERR_BAD_FORMAT where the bit width is neither 8 nor 16.
GFPQ_API int HI_GFPQ_QuantAndDeQuant(float *pf32FloatData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                     GFPQ_PARAM_ST *pstParam);
GFPQ_API int HI_GFPQ_QuantAndDeQuant(double *p64DoubleData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                     GFPQ_PARAM_ST *pstParam);

// The same for values in the memory of the current CUDA device; the parameter block stays in CPU memory.
//
// The work is queued on `cuda_stream` (NULL: the default stream). With GFPQ_MODE_APPLY_ONLY, and for float with a NULL
// block, the call returns at once; otherwise it waits until the coefficient is known, not until the data are written.
// `cublas_handle` is accepted because callers pass one; it is not used.
//
// Returns GFPQ_ERR_BAD_PARAMETERS where a pointer is on the wrong side, GFPQ_ERR_NOT_SUPPORT from libgfpq, and
// GFPQ_ERR_GENERIC where CUDA fails, for instance because the library holds no code for this GPU.
GFPQ_API int HI_GFPQ_QuantAndDeQuant_GPU(float *pf32FloatData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                         GFPQ_PARAM_ST *pstParam, void *cuda_stream = 0, void *cublas_handle = 0);
GFPQ_API int HI_GFPQ_QuantAndDeQuant_GPU(double *p64DoubleData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                         GFPQ_PARAM_ST *pstParam, void *cuda_stream = 0, void *cublas_handle = 0);

// Says which library this is; GFPQ_ERR_BAD_PARAMETERS for NULL.
GFPQ_API int HI_GFPQ_GetInfo(GFPQ_INFO_ST *pstInfo);

extern "C" {
#endif

// The float functions under names that ctypes and C can find.
GFPQ_API int HI_GFPQ_QuantAndDeQuant_PY(float *pf32FloatData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                        GFPQ_PARAM_ST *pstParam);
GFPQ_API int HI_GFPQ_QuantAndDeQuant_GPU_PY(float *pf32FloatData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                            GFPQ_PARAM_ST *pstParam, void *cuda_stream, void *cublas_handle);

#ifdef __cplusplus
}
#endif

#endif  // GFPQ_HPP_
