// A first program with the GFPQ library: ten numbers before and after, and how fast a large array goes.
//
//   sample        8 bit
//   sample 16     16 bit
//
// Built as `sample` it works on CPU memory. Built with GFPQ_SAMPLE_GPU, as `sample_gpu`, it works on the memory of the
// current GPU and says so in what it prints. Nothing but gfpq.hpp and, for the GPU, the CUDA runtime is needed.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "gfpq.hpp"

#ifdef GFPQ_SAMPLE_GPU
#include <cuda_runtime_api.h>
#endif

// What the library returned, where it did not return 0.
static int report_failure(const char* function, int line, int code) {
    std::fprintf(stderr, "[%s][%d] the library returned 0x%08X\n", function, line, static_cast<unsigned>(code));
    return code;
}

// ------------------------------------------------------------------------------------------ memory that a call works on

#ifdef GFPQ_SAMPLE_GPU

static const char* const function_name = "HI_GFPQ_QuantAndDeQuant_GPU";

static void check_cuda(cudaError_t error, const char* during) {
    if (error == cudaSuccess) return;
    std::fprintf(stderr, "%s failed: %s\n", during, cudaGetErrorString(error));
    std::exit(1);
}

// Numbers on the GPU, with a stream to work on them.
template <class T>
class Buffer {
public:
    explicit Buffer(const std::vector<T>& numbers) : count_(static_cast<unsigned>(numbers.size())) {
        check_cuda(cudaMalloc(reinterpret_cast<void**>(&data_), count_ * sizeof(T)), "cudaMalloc");
        check_cuda(cudaMemcpy(data_, numbers.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
        check_cuda(cudaStreamCreate(&stream_), "cudaStreamCreate");
    }
    ~Buffer() {
        cudaStreamDestroy(stream_);
        cudaFree(data_);
    }
    int quant_and_dequant(unsigned bit_width, GFPQ_PARAM_ST* param) {
        return HI_GFPQ_QuantAndDeQuant_GPU(data_, count_, bit_width, param, stream_);
    }
    void wait() { check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }
    std::vector<T> numbers() const {
        std::vector<T> result(count_);
        check_cuda(cudaMemcpy(result.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
        return result;
    }
    T* data() { return data_; }
    cudaStream_t stream() { return stream_; }

private:
    Buffer(const Buffer&);
    Buffer& operator=(const Buffer&);
    T* data_;
    unsigned count_;
    cudaStream_t stream_;
};

#else

static const char* const function_name = "HI_GFPQ_QuantAndDeQuant";

// Numbers in CPU memory.
template <class T>
class Buffer {
public:
    explicit Buffer(const std::vector<T>& numbers) : numbers_(numbers) {}
    int quant_and_dequant(unsigned bit_width, GFPQ_PARAM_ST* param) {
        return HI_GFPQ_QuantAndDeQuant(numbers_.data(), static_cast<unsigned>(numbers_.size()), bit_width, param);
    }
    void wait() {}
    const std::vector<T>& numbers() const { return numbers_; }

private:
    std::vector<T> numbers_;
};

#endif

// ------------------------------------------------------------------------------------------- what this was built with

static std::string compiler() {
    char text[64];
#if defined(__clang__)
    std::snprintf(text, sizeof text, "Clang %d.%d.%d", __clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
    std::snprintf(text, sizeof text, "GCC %d.%d.%d", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#elif defined(_MSC_VER)
    std::snprintf(text, sizeof text, "MSVC %d", _MSC_VER);
#else
    std::snprintf(text, sizeof text, "unknown");
#endif
    return text;
}

static std::string architecture() {
#if defined(__x86_64__) || defined(_M_X64)
    std::string name = "x86_64";
#elif defined(__aarch64__) || defined(_M_ARM64)
    std::string name = "aarch64";
#elif defined(__i386__) || defined(_M_IX86)
    std::string name = "x86";
#else
    std::string name = "unknown";
#endif
#ifdef GFPQ_SAMPLE_GPU
    int device = 0;
    cudaDeviceProp properties;
    check_cuda(cudaGetDevice(&device), "cudaGetDevice");
    check_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    name += ", " + std::string(properties.name) + " sm_" + std::to_string(properties.major * 10 + properties.minor);
#endif
    return name;
}

static int print_version() {
    GFPQ_INFO_ST info;
    const int code = HI_GFPQ_GetInfo(&info);
    if (code != 0) return report_failure(__func__, __LINE__, code);
    std::printf("Compiler[%s] Architecture[%s]\n", compiler().c_str(), architecture().c_str());
    std::printf("GFPQ version[%u.%u.%u] Compiler revision[%u] Build at[%s]\n", info.u32LibVerMajor, info.u32LibVerMinor,
                info.u32LibVerPatch, info.u32ComRevision, info.u8BuildTime);
    return 0;
}

// ------------------------------------------------------------------------------------------- ten numbers

template <class T>
static void print_numbers(const std::vector<T>& numbers) {
    for (std::size_t i = 0; i < numbers.size(); ++i) std::printf("%s%f", i == 0 ? "" : " ", double(numbers[i]));
    std::printf("\n");
}

#ifdef GFPQ_SAMPLE_GPU
// With a title in front and more digits, as the Python samples do.
static void print_line(const char* title, const std::vector<float>& numbers) {
    std::printf("%s", title);
    for (float number : numbers) std::printf(" %.10f", static_cast<double>(number));
    std::printf("\n");
}
#endif

// Where 8 bit puts 0 ... 9.
static const double expected_8bit[10] = {0,           1,           2,           2.9536523819, 4,
                                         4.9674310684, 5.9073047638, 7.0250086784, 8,           8.7240619659};

// Quantizes 0 ... 9. The mode in `param` says where the coefficient comes from:
//   GFPQ_MODE_INIT        from these numbers; the block in `param` then holds it
//   GFPQ_MODE_UPDATE      the larger of that and the one in the block
//   GFPQ_MODE_APPLY_ONLY  the one in the block
template <class T>
static int quant_and_dequant(unsigned bit_width, GFPQ_PARAM_ST* param) {
    std::vector<T> numbers;
    for (int i = 0; i < 10; ++i) numbers.push_back(static_cast<T>(i));

    std::printf("Quant and dequant bit_width[%u]\n", bit_width);
    std::printf("[%s][%d] Data_ori      : ", __func__, __LINE__);
    print_numbers(numbers);

    Buffer<T> buffer(numbers);
    const int code = buffer.quant_and_dequant(bit_width, param);
    if (code != 0) {
        // The data and the block are as they were, and the library has said on standard error what was wrong.
        return report_failure(__func__, __LINE__, code);
    }
    buffer.wait();
    numbers = buffer.numbers();

    // At 8 bit the answer is known. At 16 bit each number is within half a step of what went in, except for the top,
    // which lies at or below the maximum: it may be off by a whole step. Zero stays zero.
    for (int i = 0; i < 10; ++i) {
        const double number = static_cast<double>(numbers[i]);
        bool is_right = number == 0;
        if (bit_width == GFPQ_BIT_WIDTH_8BIT) {
            is_right = std::fabs(number - expected_8bit[i]) < 1e-6;
        } else if (i > 0) {
            const double steps = 128 * std::fabs(std::log2(number / i));
            is_right = steps <= (i == 9 ? 1.0 : 0.5);
        }
        if (!is_right) {
            std::fprintf(stderr, "[%s][%d] %d became %.10f\n", __func__, __LINE__, i, number);
            std::fprintf(stderr, "[%s][%d] is another library of this name being used?\n", __func__, __LINE__);
            return 1;
        }
    }

    std::printf("[%s][%d] Data_dequant  : ", __func__, __LINE__);
    print_numbers(numbers);
    return 0;
}

// ------------------------------------------------------------------------------------------- a large array

// Times the call on 13 107 200 numbers; the rate counts the array once, a GB being 2^30 bytes.
static int measure(unsigned bit_width) {
    std::vector<float> numbers(13107200);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(std::sin(0.001 * double(i)));
    Buffer<float> buffer(numbers);
    const double bytes = static_cast<double>(numbers.size()) * sizeof(float);
    for (int turn = 0; turn < 10; ++turn) {
        GFPQ_PARAM_ST param;
        std::memset(&param, 0, sizeof param);
        param.mode = GFPQ_MODE_INIT;
        const auto begin = std::chrono::steady_clock::now();
        const int code = buffer.quant_and_dequant(bit_width, &param);
        if (code != 0) return report_failure(__func__, __LINE__, code);
        buffer.wait();
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
        std::printf("%s bit_width[%2u] cnt[%9u] memory[%6u]KB time[%6ld]us rate[%f]GB/s\n", function_name, bit_width,
                    static_cast<unsigned>(numbers.size()), static_cast<unsigned>(bytes / 1024),
                    static_cast<long>(elapsed.count() * 1e6 + 0.5), bytes / elapsed.count() / 1073741824.0);
    }
    return 0;
}

#ifdef GFPQ_SAMPLE_GPU

// What the Python sample for GPUs prints, through the same function.
static int as_python_does() {
    std::vector<float> numbers;
    for (int i = 0; i < 10; ++i) numbers.push_back(static_cast<float>(i));
    print_line("Origin data:", numbers);
    Buffer<float> buffer(numbers);
    GFPQ_PARAM_ST param;
    std::memset(&param, 0, sizeof param);
    const auto begin = std::chrono::steady_clock::now();
    const int code = HI_GFPQ_QuantAndDeQuant_GPU_PY(buffer.data(), 10, GFPQ_BIT_WIDTH_8BIT, &param, buffer.stream(), 0);
    if (code != 0) return report_failure(__func__, __LINE__, code);
    buffer.wait();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    print_line("QuantAndDeQuant:", buffer.numbers());
    print_line("Data expected:", std::vector<float>(expected_8bit, expected_8bit + 10));
    std::printf("HI_GFPQ_QuantAndDeQuant PY time:0:00:%09.6f\n", elapsed.count());
    std::printf("HI_GFPQ_QuantAndDeQuant success\nGFPQ_PARAM:");
    for (unsigned char byte : param.buf) std::printf(" 0x%x", byte < 128 ? byte : 256 - byte);
    std::printf("\n");
    return 0;
}

#endif

int main(int count, char** words) {
    const unsigned bit_width = count > 1 ? static_cast<unsigned>(std::atoi(words[1])) : GFPQ_BIT_WIDTH_8BIT;
    if (print_version() != 0) return 1;

    // The coefficient from the data, then the stored one again; in float32 and in float64.
    GFPQ_PARAM_ST param;
    std::memset(&param, 0, sizeof param);
    for (int is_double = 0; is_double < 2; ++is_double) {
        for (unsigned mode : {GFPQ_MODE_INIT, GFPQ_MODE_APPLY_ONLY}) {
            param.mode = mode;
            const int code = is_double ? quant_and_dequant<double>(bit_width, &param)
                                       : quant_and_dequant<float>(bit_width, &param);
            if (code != 0) return 1;
        }
    }
    if (measure(bit_width) != 0) return 1;
#ifdef GFPQ_SAMPLE_GPU
    if (as_python_does() != 0) return 1;
#endif
    return 0;
}
