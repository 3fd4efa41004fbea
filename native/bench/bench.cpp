// How near the kernels come to what the memory allows, as ratios within one run.
//
//   gfpq_bench [--json FILE] [--rounds N] [--instruction-set NAME]
//
// Every figure is taken in rounds, in which the yardstick (a copy, or reading alone) and the kernel take turns; the
// best of each counts, as is usual for bandwidths: other work on the machine only ever takes away. GB is 10^9 bytes.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "codec.hpp"
#include "kernels.hpp"
#include "pool.hpp"
#include "similarity.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using Work = std::function<void()>;

constexpr std::size_t kGuideCount = 13107200;  // the guide's sample: 51 200 KB of float32

double seconds(const Work& work) {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Figure {
    std::string name;
    std::string yardstick;
    unsigned threads;
    double yardstick_gb_s;
    double kernel_gb_s;
    double ratio;  // speed against the yardstick, or time for the similarity figures
    double goal;   // 0 where there is none
    bool lower_is_better;

    bool met() const { return goal == 0 || (lower_is_better ? ratio <= goal : ratio >= goal); }
};

template <class T>
struct Aligned {
    explicit Aligned(std::size_t count) : size(count), data(static_cast<T*>(std::aligned_alloc(4096, (count * sizeof(T) + 4095) / 4096 * 4096))) {
        if (data == nullptr) throw std::bad_alloc();
    }
    ~Aligned() { std::free(data); }
    Aligned(const Aligned&) = delete;
    Aligned& operator=(const Aligned&) = delete;
    std::size_t size;
    T* data;
};

/// Numbers with a bell-shaped distribution, the same in every run.
template <class T>
void fill(Aligned<T>& array, std::uint64_t seed) {
    std::uint64_t state = seed;
    for (std::size_t i = 0; i < array.size; ++i) {
        double sum = 0;
        for (int k = 0; k < 4; ++k) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += static_cast<double>(state >> 40) / static_cast<double>(1u << 24) - 0.5;
        }
        array.data[i] = static_cast<T>(sum);
    }
}

/// A copy on as many threads as the kernels use.
template <class T>
void copy(T* to, const T* from, std::size_t count) {
    constexpr std::size_t range = (std::size_t{1} << 20) / sizeof(T);
    if (gfpq::threads() == 1) {
        std::memcpy(to, from, count * sizeof(T));
        return;
    }
    gfpq::parallel((count + range - 1) / range, [&](std::size_t index) {
        const std::size_t begin = index * range;
        std::memcpy(to + begin, from + begin, std::min(range, count - begin) * sizeof(T));
    });
}

class Bench {
public:
    explicit Bench(int rounds) : rounds_(rounds) {}

    /// `repeat`: runs of each in a round (small arrays).
    void against(const std::string& name, const std::string& yardstick, double bytes, const Work& reference,
                 const Work& kernel, double goal, bool time_ratio = false, int repeat = 1, const Work& before = {}) {
        double reference_time = 1e9, kernel_time = 1e9;
        const auto many = [repeat](const Work& work) { for (int i = 0; i < repeat; ++i) work(); };
        many(reference);
        if (before) before();
        many(kernel);
        for (int round = 0; round < rounds_; ++round) {
            reference_time = std::min(reference_time, seconds([&] { many(reference); }) / repeat);
            if (before) before();
            kernel_time = std::min(kernel_time, seconds([&] { many(kernel); }) / repeat);
        }
        add({name, yardstick, gfpq::threads(), bytes / reference_time / 1e9, bytes / kernel_time / 1e9,
             time_ratio ? kernel_time / reference_time : reference_time / kernel_time, goal, time_ratio});
    }

    void add(const Figure& figure) {
        figures.push_back(figure);
        std::printf("%-46s %2u thread%s  %7.2f GB/s  %s %7.2f GB/s  ratio %5.2f", figure.name.c_str(), figure.threads,
                    figure.threads == 1 ? " " : "s", figure.kernel_gb_s, figure.yardstick.c_str(), figure.yardstick_gb_s,
                    figure.ratio);
        if (figure.goal > 0)
            std::printf("  goal %s %.2f  %s", figure.lower_is_better ? "<=" : ">=", figure.goal, figure.met() ? "met" : "MISSED");
        std::printf("\n");
        std::fflush(stdout);
    }

    std::vector<Figure> figures;

private:
    int rounds_;
};

template <class T>
void large_arrays(Bench& bench, const char* type, double apply_goal, double init_goal) {
    Aligned<T> input(kGuideCount), output(kGuideCount), spare(kGuideCount);
    fill(input, 1);
    std::memset(output.data, 0, kGuideCount * sizeof(T));
    std::memset(spare.data, 0, kGuideCount * sizeof(T));
    const double bytes = static_cast<double>(kGuideCount * sizeof(T));
    const Work memcpy_work = [&] { copy(spare.data, input.data, kGuideCount); };
    for (unsigned bits : {8u, 16u}) {
        const gfpq::Grid& grid = *gfpq::grid_of(bits);
        const int delta = gfpq::coefficient_from(gfpq::largest_magnitude(input.data, kGuideCount), grid);
        const std::string label = std::string(type) + " " + std::to_string(bits) + " bit ";
        const Work refill = [&] { std::memcpy(output.data, input.data, kGuideCount * sizeof(T)); };
        bench.against(label + "APPLY out of place", "memcpy", bytes, memcpy_work,
                      [&] { gfpq::apply(input.data, output.data, kGuideCount, grid, delta); }, apply_goal);
        bench.against(label + "APPLY in place", "memcpy", bytes, memcpy_work,
                      [&] { gfpq::apply(output.data, output.data, kGuideCount, grid, delta); }, apply_goal, false, 1, refill);
        std::uint8_t block[gfpq::kParameterLength];
        bench.against(label + "INIT in place", "memcpy", bytes, memcpy_work,
                      [&] { gfpq::quantize_dequantize(output.data, kGuideCount, bits, 0, block); }, init_goal, false, 1, refill);
    }
}

void small_arrays(Bench& bench) {
    constexpr std::size_t count = std::size_t{1} << 16;  // 256 KB in, 256 KB out
    Aligned<float> input(count), output(count), spare(count);
    fill(input, 2);
    fill(output, 3);
    const double bytes = 2.0 * static_cast<double>(count * sizeof(float));  // read + write
    for (unsigned bits : {8u, 16u}) {
        const gfpq::Grid& grid = *gfpq::grid_of(bits);
        const int delta = gfpq::coefficient_from(gfpq::largest_magnitude(input.data, count), grid);
        bench.against("float32 " + std::to_string(bits) + " bit APPLY in L2 (read + write)", "memcpy", bytes,
                      [&] { std::memcpy(spare.data, input.data, count * sizeof(float)); },
                      [&] { gfpq::apply(input.data, output.data, count, grid, delta); }, 0, false, 50);
        if (bits == 8) {
            const double speed = bench.figures.back().kernel_gb_s;
            bench.add({"float32 8 bit APPLY in L2, against 60 GB/s", "goal  ", 1, 60.0, speed, speed / 60.0,
                       std::strcmp(gfpq::instruction_set(), "avx512") == 0 ? 1.0 : 0.0, false});
        }
    }
}

void similarity(Bench& bench, const char* where, std::size_t total_bytes, std::size_t lanes, double goal) {
    const std::size_t count = total_bytes / sizeof(float) / (lanes + 1) / 16 * 16;
    std::vector<std::unique_ptr<Aligned<float>>> buffers;
    std::vector<const float*> pointers;
    for (std::size_t k = 0; k <= lanes; ++k) {
        buffers.push_back(std::make_unique<Aligned<float>>(count));
        if (k == 0) {
            fill(*buffers[0], 4);
        } else {
            for (std::size_t i = 0; i < count; ++i)
                buffers[k]->data[i] = buffers[0]->data[i] * (1.0f + 1e-3f * static_cast<float>(k * (i % 7)));
            pointers.push_back(buffers[k]->data);
        }
    }
    std::vector<double> sums(lanes * gfpq::kSumFields), products(lanes * lanes);
    const gfpq::Kernels* table = gfpq::kernels();
    const auto read_all = [&] {
        constexpr std::size_t range = std::size_t{1} << 16;
        const std::size_t ranges = (count + range - 1) / range;
        gfpq::parallel(ranges * buffers.size(), [&](std::size_t index) {
            const std::size_t begin = index % ranges * range;
            volatile std::uint32_t sink =
                table->largest_float(buffers[index / ranges]->data + begin, std::min(range, count - begin));
            (void)sink;
        });
    };
    const double bytes = static_cast<double>(count * sizeof(float) * (lanes + 1));
    const int repeat = static_cast<int>(std::max<std::size_t>(1, (std::size_t{1} << 25) / total_bytes));
    bench.against("similarity, " + std::to_string(lanes) + (lanes == 1 ? " lane, " : " lanes, ") + where, "reading", bytes, read_all,
                  [&] { gfpq::similarity(buffers[0]->data, pointers.data(), lanes, 1, count, sums.data(), products.data()); },
                  goal, true, repeat);
}

std::size_t last_level_cache() {
#if defined(_SC_LEVEL3_CACHE_SIZE)
    const long size = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (size > 0) return static_cast<std::size_t>(size);
#endif
    return std::size_t{32} << 20;
}

std::string processor_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
    return "unknown";
}

void write_json(const std::string& path, const Bench& bench) {
    std::ofstream file(path);
    file << "{\n  \"processor\": \"" << processor_name() << "\",\n  \"processors\": " << std::thread::hardware_concurrency()
         << ",\n  \"last_level_cache_bytes\": " << last_level_cache() << ",\n  \"instruction_set\": \""
         << gfpq::instruction_set() << "\",\n  \"guide\": {\"linux_gb_s\": 0.065, \"windows_gb_s\": [0.26, 0.35]},\n  \"figures\": [\n";
    for (std::size_t i = 0; i < bench.figures.size(); ++i) {
        const Figure& f = bench.figures[i];
        file << "    {\"name\": \"" << f.name << "\", \"threads\": " << f.threads << ", \"gb_s\": " << f.kernel_gb_s
             << ", \"yardstick\": \"" << f.yardstick << "\", \"yardstick_gb_s\": " << f.yardstick_gb_s << ", \"ratio\": " << f.ratio
             << ", \"lower_is_better\": " << (f.lower_is_better ? "true" : "false") << ", \"goal\": ";
        if (f.goal > 0) file << f.goal << ", \"met\": " << (f.met() ? "true" : "false");
        else file << "null, \"met\": null";
        file << "}" << (i + 1 < bench.figures.size() ? "," : "") << "\n";
    }
    file << "  ]\n}\n";
}

}  // namespace

int main(int argc, char** argv) {
    std::string json;
    int rounds = 15;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string option = argv[i];
        if (option == "--json") json = argv[i + 1];
        else if (option == "--rounds") rounds = std::max(1, std::atoi(argv[i + 1]));
        else if (option == "--instruction-set" && !gfpq::set_instruction_set(argv[i + 1])) {
            std::fprintf(stderr, "this machine cannot run '%s'\n", argv[i + 1]);
            return 2;
        }
    }
    const unsigned all = gfpq::threads();
    std::printf("%s, %u processors, last-level cache %zu MB, instruction set %s\n", processor_name().c_str(),
                std::thread::hardware_concurrency(), last_level_cache() >> 20, gfpq::instruction_set());
    std::printf("The guide's sample (13 107 200 float32): 0.065 GB/s on Linux, 0.26 to 0.35 GB/s on Windows.\n\n");

    Bench bench(rounds);
    const std::size_t beyond = std::min<std::size_t>(std::max<std::size_t>(last_level_cache() * 2, std::size_t{256} << 20), std::size_t{1} << 30);
    for (const unsigned threads : all > 1 ? std::vector<unsigned>{1, all} : std::vector<unsigned>{1}) {
        gfpq::set_threads(threads);
        large_arrays<float>(bench, "float32", 0.9, 0.6);
        large_arrays<double>(bench, "float64", 0.7, 0.0);
        if (threads == 1) small_arrays(bench);
        for (const std::size_t lanes : {std::size_t{1}, std::size_t{3}}) {
            similarity(bench, "in the last-level cache", std::size_t{12} << 20, lanes, 1.7);
            similarity(bench, "beyond it", beyond, lanes, 1.3);
        }
    }
    if (!json.empty()) write_json(json, bench);
    const auto missed = std::count_if(bench.figures.begin(), bench.figures.end(), [](const Figure& f) { return !f.met(); });
    std::printf("\n%zu figures, %td goals missed\n", bench.figures.size(), missed);
    return 0;
}
