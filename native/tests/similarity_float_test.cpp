// What summing in float leaves of the sums of large tensors: every one within 1e-8 of the definition, whatever the data,
// and of whole tiles the
// same bits from every instruction set. With a number: so many times the data, and the largest errors are printed.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <random>

#include "check.hpp"
#include "similarity_rows.hpp"

using namespace gfpq;

namespace {

constexpr double kBound = 1e-8;

using Source = std::mt19937_64;
/// Fills a reference and a lane.
using Fill = std::function<void(Source&, std::vector<float>&, std::vector<float>&)>;

struct Kind {
    const char* name;
    Fill fill;
};

float gaussian(Source& source) { return std::normal_distribution<float>()(source); }
double uniform(Source& source) { return std::uniform_real_distribution<double>()(source); }

double student(Source& source, double degrees) { return std::student_t_distribution<double>(degrees)(source); }

/// Nearest value with `bits` significant bits.
float coarse(float value, int bits) {
    int exponent;
    const float mantissa = std::frexp(value, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(mantissa, bits)), exponent - bits);
}

/// The reference from one function, and the lane from the reference.
template <class X, class Y>
Fill pairs(X make_x, Y make_y) {
    return [=](Source& source, std::vector<float>& x, std::vector<float>& y) {
        for (std::size_t i = 0; i < x.size(); ++i) {
            x[i] = static_cast<float>(make_x(source, i));
            y[i] = static_cast<float>(make_y(source, x[i], i));
        }
    };
}

const auto noisy = [](Source& source, float x, std::size_t) { return x + 0.02f * gaussian(source); };
const auto eight_bits = [](Source&, float x, std::size_t) { return coarse(x, 4); };
const auto sixteen_bits = [](Source&, float x, std::size_t) { return coarse(x, 8); };
const auto plain = [](Source& source, std::size_t) { return gaussian(source); };

/// One of a few values.
template <std::size_t Count>
auto few(std::array<float, Count> values) {
    return [values](Source& source, std::size_t) { return values[source() % Count]; };
}

std::vector<Kind> kinds() {
    const auto relu = [](Source& s, std::size_t) { return std::max(0.0f, gaussian(s)); };
    const auto sparse = [](Source& s, std::size_t) { return s() % 50 == 0 ? gaussian(s) : 0.0f; };
    const auto scaled = [](float scale) { return [scale](Source& s, std::size_t) { return scale * gaussian(s); }; };
    return {
        {"Gaussian, small noise", pairs(plain, noisy)},
        {"Gaussian, 8 bits", pairs(plain, eight_bits)},
        {"Gaussian, 16 bits", pairs(plain, sixteen_bits)},
        {"independent lanes", pairs(plain, [](Source& s, float, std::size_t) { return gaussian(s); })},
        {"a lane far larger", pairs(plain, [](Source& s, float, std::size_t) { return 100.0f * gaussian(s); })},
        {"a lane far smaller", pairs(plain, [](Source& s, float, std::size_t) { return 0.01f * gaussian(s); })},
        {"half the size", pairs(plain, [](Source& s, float x, std::size_t) { return 0.5f * x + 0.2f * gaussian(s); })},
        {"after ReLU", pairs(relu, eight_bits)},
        {"after ReLU, noise", pairs(relu, [](Source& s, float x, std::size_t) { return std::max(0.0f, x + 0.05f * gaussian(s)); })},
        {"after ReLU6", pairs([](Source& s, std::size_t) { return std::clamp(4 * gaussian(s), 0.0f, 6.0f); }, eight_bits)},
        {"sparse", pairs(sparse, eight_bits)},
        {"rare errors", pairs(plain, [](Source& s, float x, std::size_t) { return s() % 200 == 0 ? x + gaussian(s) : x; })},
        {"codes of 8 bits", pairs([](Source& s, std::size_t) { return coarse(gaussian(s), 4); }, noisy)},
        {"codes on both sides", pairs([](Source& s, std::size_t) { return coarse(gaussian(s), 4); },
                                      [](Source& s, float x, std::size_t) { return coarse(x * 1.03f + 0.01f * gaussian(s), 4); })},
        {"steps of 1 / 127", pairs([](Source& s, std::size_t) { return static_cast<float>(s() % 255) / 127.0f - 1.0f; }, eight_bits)},
        {"constant", pairs([](Source&, std::size_t) { return 1.1f; }, [](Source&, float, std::size_t) { return 1.05f; })},
        {"constant reference", pairs([](Source&, std::size_t) { return 1.1f; }, noisy)},
        {"constant lane", pairs(plain, [](Source&, float, std::size_t) { return 0.3f; })},
        {"zero or one value", pairs(few<2>({0.0f, 1.1f}), eight_bits)},
        {"zero or one value, shrunk", pairs(few<2>({0.0f, 1.1f}), [](Source& s, float x, std::size_t) { return s() % 3 == 0 ? 0.7f * x : x; })},
        {"two of two values", pairs(few<2>({0.1f, 1.1f}), [](Source& s, float, std::size_t) { return s() % 2 ? 0.3f : -0.7f; })},
        {"few values", pairs(few<3>({0.1f, 1.1f, 2.7f}), [](Source& s, float, std::size_t) { return s() % 2 ? 0.37f : -5.3f; })},
        {"a period", pairs([](Source&, std::size_t i) { return 0.1f + 0.3f * static_cast<float>(i % 4); },
                           [](Source&, float x, std::size_t i) { return x + (i % 8 == 3 ? 0.017f : -0.003f); })},
        {"a plane a value", pairs([](Source&, std::size_t i) { return std::sin(static_cast<float>(i / 784 * 7)); }, eight_bits)},
        {"Student t, 3", pairs([](Source& s, std::size_t) { return student(s, 3); }, eight_bits)},
        {"Student t, 2", pairs([](Source& s, std::size_t) { return student(s, 2); }, noisy)},
        {"Cauchy", pairs([](Source& s, std::size_t) { return student(s, 1); }, eight_bits)},
        {"log-normal", pairs([](Source& s, std::size_t) { return std::exp(2 * gaussian(s)); }, eight_bits)},
        {"one outlier of 50", pairs([](Source& s, std::size_t i) { return i == 77 ? 50.0f : gaussian(s); }, noisy)},
        {"one outlier of 1e4", pairs([](Source& s, std::size_t i) { return i == 77 ? 1e4f : gaussian(s); }, eight_bits)},
        {"one error of 1e3", pairs(plain, [](Source& s, float x, std::size_t i) { return i == 4711 ? 1e3f : noisy(s, x, i); })},
        {"tiles of other sizes", pairs([](Source& s, std::size_t i) { return gaussian(s) * (i / 512 % 2 ? 1e4f : 1.0f); }, eight_bits)},
        {"ends of other sizes", pairs([](Source& s, std::size_t i) { return gaussian(s) * std::exp(-1e-4f * static_cast<float>(i)); }, eight_bits)},
        {"denormal", pairs(scaled(1e-41f), [](Source& s, float x, std::size_t) { return x + 1e-42f * gaussian(s); })},
        {"1e-12", pairs(scaled(1e-12f), eight_bits)},
        {"1e-14", pairs(scaled(1e-14f), eight_bits)},
        {"1e-19", pairs(scaled(1e-19f), eight_bits)},
        {"tiny errors", pairs(plain, [](Source&, float x, std::size_t) { return std::nextafter(x, 9.0f); })},
        {"tiny values, tiny errors", pairs(scaled(1e-9f), [](Source&, float x, std::size_t) { return std::nextafter(x, 9.0f); })},
        {"1e15", pairs(scaled(1e15f), noisy)},
        {"1e18", pairs(scaled(1e18f), eight_bits)},
        {"1e30", pairs(scaled(1e30f), eight_bits)},
        {"up to 3e38", pairs([](Source& s, std::size_t) { return 3e38 * (2 * uniform(s) - 1); }, [](Source& s, float, std::size_t) { return 3e38 * (2 * uniform(s) - 1); })},
        {"nearly constant", pairs([](Source& s, std::size_t) { return 100.0f + 0.01f * gaussian(s); }, noisy)},
        {"mean of 20", pairs([](Source& s, std::size_t) { return 20.0f + gaussian(s); }, eight_bits)},
        {"offset", pairs(plain, [](Source&, float x, std::size_t) { return x + 0.25f; })},
        {"gain", pairs(plain, [](Source&, float x, std::size_t) { return 1.05f * x; })},
        {"gain and noise", pairs(plain, [](Source& s, float x, std::size_t) { return 1.05f * x + 0.01f * gaussian(s); })},
        {"the same", pairs(plain, [](Source&, float x, std::size_t) { return x; })},
        {"zero lane", pairs(plain, [](Source&, float, std::size_t) { return 0.0f; })},
        {"negative", pairs(plain, [](Source&, float x, std::size_t) { return -x; })},
        {"zero reference", pairs([](Source&, std::size_t) { return 0.0f; }, [](Source& s, float, std::size_t) { return gaussian(s); })},
        {"zeros", pairs([](Source&, std::size_t) { return 0.0f; }, [](Source&, float, std::size_t i) { return i % 2 ? -0.0f : 0.0f; })},
        {"uneven channels", pairs([](Source& s, std::size_t i) { return std::ldexp(gaussian(s), -static_cast<int>(i % 16)); }, eight_bits)},
        {"one channel of many", pairs([](Source& s, std::size_t i) { return gaussian(s) * (i % 16 == 5 ? 100.0f : 0.01f); }, eight_bits)},
        {"softmax", pairs([](Source& s, std::size_t) { return std::exp(12 * gaussian(s) - 40); }, eight_bits)},
    };
}

double sum_of_sizes(const std::vector<float>& values) {
    double sum = 0;
    for (const float value : values) sum += std::fabs(static_cast<double>(value));
    return sum;
}

struct Rows {
    std::vector<double> sums, products;
    Rows(std::size_t lanes) : sums(lanes * kSumFields), products(lanes * lanes) {}
};

bool same(const std::vector<double>& one, const std::vector<double>& other) {
    return std::memcmp(one.data(), other.data(), one.size() * sizeof(double)) == 0;
}

/// The largest error of one row's sums, each relative to the sum of the sizes of what is added up.
double largest_error(const double* found, const double* expected, double size_x, double size_y, const char* name) {
    double worst = 0;
    const double energy = std::sqrt(expected[kSumXX] * expected[kSumYY]);
    for (const auto& [field, scale] : std::initializer_list<std::pair<SumField, double>>{
             {kSumX, size_x}, {kSumY, size_y}, {kSumXX, expected[kSumXX]}, {kSumYY, expected[kSumYY]}, {kSumXY, energy},
             {kSumD, expected[kSumAbsD]}, {kSumDD, expected[kSumDD]}, {kSumAbsD, expected[kSumAbsD]}, {kMaxAbsD, expected[kMaxAbsD]}}) {
        const double error = std::fabs(found[field] - expected[field]);
        if (error == 0) continue;
        CHECK(error <= kBound * scale, "%s, %s: field %zu is off by %.2e", instruction_set(), name, static_cast<std::size_t>(field), error / scale);
        worst = std::max(worst, error / scale);
    }
    for (const SumField field : {kCount, kMaxAbsX, kMaxAbsY, kMinX, kMaxX, kMinY, kMaxY, kNonfiniteX, kNonfiniteY, kFirstNonfinite, kUnequalBits})
        CHECK(found[field] == expected[field], "%s, %s: field %zu is %g, not %g", instruction_set(), name, static_cast<std::size_t>(field), found[field], expected[field]);
    return worst;
}

struct Tensors {
    std::vector<float> x;
    std::vector<std::vector<float>> lanes;
    std::vector<const float*> pointers;

    /// Lanes after the first are coarser, or partly in another order.
    Tensors(const Kind& kind, std::size_t size, std::size_t lane_count, std::uint64_t seed) : x(size) {
        Source source(seed);
        std::vector<float> y(size);
        kind.fill(source, x, y);
        for (std::size_t k = 0; k < lane_count; ++k) {
            lanes.push_back(y);
            if (k % 2 == 1) std::transform(y.begin(), y.end(), lanes[k].begin(), [](float value) { return coarse(value, 6); });
            if (k % 3 == 2) std::reverse(lanes[k].begin(), lanes[k].begin() + static_cast<std::ptrdiff_t>(size / 8));
        }
        for (const auto& lane : lanes) pointers.push_back(lane.data());
    }
};

/// Whether the float way may be gone, and its sums, are no matter of the instruction set.
void check_sets(const Tensors& tensors, const char* name) {
    const std::size_t lanes = tensors.lanes.size();
    Rows first(lanes);
    bool first_done = false;
    for (const char* set : check::instruction_sets()) {
        CHECK(set_instruction_set(set));
        Rows found(lanes);
        const std::size_t whole = std::min(tensors.x.size(), kSimilarityChunk) / kTile * kTile;
        const bool done = float_chunk(tensors.x.data(), tensors.pointers.data(), lanes, 0, whole, found.sums.data(), found.products.data());
        if (set == check::instruction_sets()[0]) {
            first = found;
            first_done = done;
        }
        CHECK(done == first_done, "%s, %s", set, name);
        CHECK(!done || (same(found.sums, first.sums) && same(found.products, first.products)), "%s, %s: other bits", set, name);
    }
}

/// As a tap does: piece by piece, each with what is known of those before.
void sum_in_pieces(const Tensors& tensors, std::size_t piece, Rows& found) {
    const std::size_t lanes = tensors.lanes.size();
    RunningSums running;
    for (std::size_t k = 0; k < lanes; ++k) start_sums(found.sums.data() + k * kSumFields);
    for (std::size_t begin = 0; begin < tensors.x.size(); begin += piece) {
        std::vector<const float*> shifted(tensors.pointers);
        for (const float*& lane : shifted) lane += begin;
        Rows part(lanes);
        similarity_chunk(tensors.x.data() + begin, shifted.data(), lanes, std::min(piece, tensors.x.size() - begin),
                         part.sums.data(), part.products.data(), &running);
        for (std::size_t k = 0; k < lanes; ++k)
            merge_sums(found.sums.data() + k * kSumFields, part.sums.data() + k * kSumFields, begin);
        for (std::size_t i = 0; i < lanes * lanes; ++i) found.products[i] += part.products[i];
    }
    for (std::size_t i = 0; i < lanes; ++i)
        for (std::size_t j = 0; j < i; ++j) found.products[i * lanes + j] = found.products[j * lanes + i];
}

double check_kind(const Kind& kind, std::size_t size, std::size_t lanes, std::uint64_t seed) {
    const Tensors tensors(kind, size, lanes, seed);
    check_sets(tensors, kind.name);
    Rows expected(lanes);
    similarity_reference(tensors.x.data(), tensors.pointers.data(), lanes, 1, size, expected.sums.data(), expected.products.data());
    double worst = 0;
    for (const char* set : check::instruction_sets()) for (const std::size_t piece : {std::size_t{0}, kFloatPiece, kFloatPiece + 3000}) {
        CHECK(set_instruction_set(set));
        Rows found(lanes);
        if (piece != 0) sum_in_pieces(tensors, piece, found);
        else CHECK(similarity(tensors.x.data(), tensors.pointers.data(), lanes, 1, size, found.sums.data(), found.products.data()));
        for (std::size_t k = 0; k < lanes; ++k) {
            const double* row = expected.sums.data() + k * kSumFields;
            const double* own = found.sums.data() + k * kSumFields;
            worst = std::max(worst, largest_error(own, row, sum_of_sizes(tensors.x), sum_of_sizes(tensors.lanes[k]), kind.name));
            if (row[kUnequalBits] == 0)
                CHECK(own[kSumXX] == own[kSumYY] && own[kSumXX] == own[kSumXY], "%s, %s: equal lanes, other sums", set, kind.name);
            for (std::size_t j = 0; j < lanes; ++j) {
                const double scale = std::sqrt(row[kSumDD] * expected.sums[j * kSumFields + kSumDD]);
                const double error = std::fabs(found.products[k * lanes + j] - expected.products[k * lanes + j]);
                if (error == 0) continue;
                CHECK(error <= kBound * scale, "%s, %s: product %zu %zu is off by %.2e", set, kind.name, k, j, error / scale);
                worst = std::max(worst, error / scale);
            }
        }
    }
    return worst;
}

/// Something that is not finite anywhere leads to the careful way, and its place is found.
void nonfinite_is_found() {
    for (const float special : {std::nanf(""), INFINITY, -INFINITY})
        for (const bool in_lane : {false, true}) {
            Tensors tensors(kinds()[0], kSimilarityChunk + kFloatChunk, 1, 5);
            const std::size_t at = kSimilarityChunk + 12345;
            (in_lane ? tensors.lanes[0] : tensors.x)[at] = special;
            Rows found(1), expected(1);
            CHECK(similarity(tensors.x.data(), tensors.pointers.data(), 1, 1, tensors.x.size(), found.sums.data(), found.products.data()));
            similarity_reference(tensors.x.data(), tensors.pointers.data(), 1, 1, tensors.x.size(), expected.sums.data(), expected.products.data());
            CHECK(found.sums[kFirstNonfinite] == static_cast<double>(at));
            tensors.x[at] = tensors.lanes[0][at] = 0.0f;
            largest_error(found.sums.data(), expected.sums.data(), sum_of_sizes(tensors.x), sum_of_sizes(tensors.lanes[0]), "not finite");
        }
}

}  // namespace

int main(int argc, char** argv) {
    const std::size_t repeats = argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : 1;
    for (const Kind& kind : kinds()) {
        double worst = 0;
        std::uint64_t seed = 1;
        for (std::size_t repeat = 0; repeat < repeats; ++repeat)
            for (const std::size_t size : {kFloatChunk - 1, kFloatChunk, kFloatChunk + 1, kSimilarityChunk - 1, kSimilarityChunk,
                                           kSimilarityChunk + kFloatChunk + 17})
                worst = std::max(worst, check_kind(kind, size, seed % 3 == 0 ? 4 : 1, seed)), ++seed;
        if (argc > 1) std::printf("%-28s %.1e\n", kind.name, worst);
    }
    for (const char* set : check::instruction_sets()) {
        CHECK(set_instruction_set(set));
        nonfinite_is_found();
    }
    return check::result("similarity_float");
}
