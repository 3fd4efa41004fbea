// A caller of the original library: every declaration is typed from its documentation, none is taken from our header.
#include <cstdio>
#include <cstring>
#include <vector>

struct _GFPQ_PARAM_ST {
    unsigned int mode;
    unsigned char buf[16];
};
typedef struct _GFPQ_PARAM_ST GFPQ_PARAM_ST;
struct _GFPQ_INFO_ST {
    unsigned int u32LibVerMajor, u32LibVerMinor, u32LibVerPatch, u32LibSoVer, u32ComRevision;
    char u8BuildTime[64];
};
typedef struct _GFPQ_INFO_ST GFPQ_INFO_ST;

int HI_GFPQ_QuantAndDeQuant(float* data, unsigned int count, unsigned int bit_width, GFPQ_PARAM_ST* param);
int HI_GFPQ_QuantAndDeQuant(double* data, unsigned int count, unsigned int bit_width, GFPQ_PARAM_ST* param);
int HI_GFPQ_QuantAndDeQuant_GPU(float* device_data, unsigned int count, unsigned int bit_width, GFPQ_PARAM_ST* param,
                                void* cuda_stream = 0, void* cublas_handle = 0);
int HI_GFPQ_QuantAndDeQuant_GPU(double* device_data, unsigned int count, unsigned int bit_width, GFPQ_PARAM_ST* param,
                                void* cuda_stream = 0, void* cublas_handle = 0);
int HI_GFPQ_GetInfo(GFPQ_INFO_ST* info);
extern "C" {
int HI_GFPQ_QuantAndDeQuant_PY(float*, unsigned int, unsigned int, GFPQ_PARAM_ST*);
int HI_GFPQ_QuantAndDeQuant_GPU_PY(float*, unsigned int, unsigned int, GFPQ_PARAM_ST*, void*, void*);
}

template <class T>
static void show(const char* what, int code, const std::vector<T>& data, const GFPQ_PARAM_ST& param) {
    std::printf("%s code=%d mode=%u block=", what, code, param.mode);
    for (unsigned char byte : param.buf) std::printf("%02x", byte);
    std::printf(" data=");
    for (T x : data) std::printf("%.17g,", static_cast<double>(x));
    std::printf("\n");
}

template <class T>
static void call(const char* type, unsigned bit_width) {
    char name[32];
    GFPQ_PARAM_ST param = {0, {0}};
    std::vector<T> data;
    for (int i = 0; i < 10; ++i) data.push_back(T(i));
    int code = HI_GFPQ_QuantAndDeQuant(data.data(), 10, bit_width, &param);
    std::snprintf(name, sizeof name, "%s%u-init", type, bit_width);
    show(name, code, data, param);

    param.mode = 1;
    data.assign({T(-100), T(0.125), T(3)});
    code = HI_GFPQ_QuantAndDeQuant(data.data(), 3, bit_width, &param);
    std::snprintf(name, sizeof name, "%s%u-update", type, bit_width);
    show(name, code, data, param);

    param.mode = 2;
    data.assign({T(1e6), T(-0.7), T(0)});
    code = HI_GFPQ_QuantAndDeQuant(data.data(), 3, bit_width, &param);
    std::snprintf(name, sizeof name, "%s%u-apply", type, bit_width);
    show(name, code, data, param);

    data.assign({T(1), T(-1)});
    code = HI_GFPQ_QuantAndDeQuant(data.data(), 2, bit_width, nullptr);
    std::snprintf(name, sizeof name, "%s%u-null", type, bit_width);
    show(name, code, data, param);
}

int main() {
    GFPQ_INFO_ST info;
    std::memset(&info, 0xFF, sizeof info);
    std::printf("info code=%d", HI_GFPQ_GetInfo(&info));
    std::printf(" version=%u.%u.%u so=%u revision=%u time=%s\n", info.u32LibVerMajor, info.u32LibVerMinor,
                info.u32LibVerPatch, info.u32LibSoVer, info.u32ComRevision, info.u8BuildTime);
    for (unsigned bit_width : {8u, 16u}) {
        call<float>("float", bit_width);
        call<double>("double", bit_width);
    }
    std::vector<float> data = {1, 2, 3};
    const std::vector<float> before = data;
    GFPQ_PARAM_ST param = {0, {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}};
    show("PY", HI_GFPQ_QuantAndDeQuant_PY(data.data(), 3, 8, &param), data, param);
    double wide[1] = {1};
    std::printf("gpu %d %d %d\n", HI_GFPQ_QuantAndDeQuant_GPU(data.data(), 3, 8, &param),
                HI_GFPQ_QuantAndDeQuant_GPU(wide, 1, 8, &param),
                HI_GFPQ_QuantAndDeQuant_GPU_PY(data.data(), 3, 8, &param, nullptr, nullptr));
    return 0;
}
