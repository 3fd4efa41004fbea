// The similarity kernels against their definition, and the same bits for any number of threads.
#include "similarity.hpp"

#include <cmath>

#include "check.hpp"

using namespace gfpq;

namespace {

template <class T>
struct Data {
    std::vector<T> reference;
    std::vector<std::vector<T>> lanes;
    std::vector<const T*> pointers;

    Data(std::size_t size, std::size_t lane_count, bool with_special) {
        check::Random random(size + lane_count);
        const auto number = [&] { return static_cast<T>(static_cast<double>(random.next() >> 11) * 0x1p-53 - 0.4); };
        for (std::size_t i = 0; i < size; ++i) reference.push_back(number());
        for (std::size_t k = 0; k < lane_count; ++k) {
            lanes.emplace_back();
            for (std::size_t i = 0; i < size; ++i) lanes[k].push_back(reference[i] + number() / static_cast<T>(1 << (4 * (k % 5))));
        }
        if (with_special && size > 3) {
            reference[size / 2] = static_cast<T>(std::nan(""));
            lanes[0][size / 3] = static_cast<T>(INFINITY);
        }
        for (const auto& lane : lanes) pointers.push_back(lane.data());
    }
};

/// `bound`: what sums in double keep; large tensors of floats are summed in float within tiles (similarity_float_test.cpp).
bool near(double a, double b, double scale, double bound) { return a == b || std::fabs(a - b) <= bound * scale; }

template <class T>
void agrees_with_the_definition(std::size_t samples, std::size_t size, std::size_t lanes, bool special) {
    const Data<T> data(samples * size, lanes, special);
    std::vector<double> sums(samples * lanes * kSumFields, -7), expected_sums = sums;
    std::vector<double> products(samples * lanes * lanes, -7), expected_products = products;
    CHECK(similarity(data.reference.data(), data.pointers.data(), lanes, samples, size, sums.data(), products.data()));
    similarity_reference(data.reference.data(), data.pointers.data(), lanes, samples, size, expected_sums.data(), expected_products.data());
    const double scale = static_cast<double>(size) + 1;
    const double bound = sizeof(T) == sizeof(float) && size >= kFloatChunk ? 1e-8 : 1e-12;
    for (std::size_t i = 0; i < sums.size(); ++i)
        CHECK(near(sums[i], expected_sums[i], scale, bound), "%s field %zu of %zu x %zu x %zu: %.17g, not %.17g", instruction_set(),
              i % kSumFields, samples, lanes, size, sums[i], expected_sums[i]);
    for (std::size_t i = 0; i < products.size(); ++i)
        CHECK(near(products[i], expected_products[i], scale, bound), "%s product %zu of %zu x %zu x %zu", instruction_set(), i, samples, lanes, size);
}

template <class T>
void threads_do_not_matter() {
    const Data<T> data(3 * 200001, 3, true);
    std::vector<double> first(3 * 3 * kSumFields), first_products(27);
    set_threads(1);
    similarity(data.reference.data(), data.pointers.data(), 3, 3, 200001, first.data(), first_products.data());
    for (unsigned limit : {2u, 5u}) {
        std::vector<double> sums(first.size()), products(27);
        set_threads(limit);
        similarity(data.reference.data(), data.pointers.data(), 3, 3, 200001, sums.data(), products.data());
        CHECK(std::memcmp(sums.data(), first.data(), sums.size() * sizeof(double)) == 0, "%u threads", limit);
        CHECK(std::memcmp(products.data(), first_products.data(), products.size() * sizeof(double)) == 0, "%u threads", limit);
    }
    set_threads(0);
}

}  // namespace

int main() {
    for (const char* set : check::instruction_sets()) {
        CHECK(set_instruction_set(set));
        for (std::size_t size : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 200, 511, 512, 513, 1024, 1100, 66000})
            for (std::size_t lanes : {1, 2, 3, 16}) {
                agrees_with_the_definition<float>(2, size, lanes, lanes == 2);
                agrees_with_the_definition<double>(1, size, lanes, lanes == 3);
            }
        threads_do_not_matter<float>();
        threads_do_not_matter<double>();
    }
    return check::result("similarity");
}
