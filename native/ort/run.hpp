// One batch on its way through a merged graph: where the taps put what they find.
//
// A graph is shared by all threads, so nothing of a batch can live in it. Each batch brings a number as one more input
// of the graph; the taps look the batch up by that number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace gfpq::ort {

struct EvidenceRoom;

/// Stands for a coefficient that every sample makes of its own tensor.
inline constexpr std::int32_t kEachSample = INT32_MIN;

/// Columns of the evidence of a point, as in Python's `PointEvidence`.
enum EvidenceField : std::size_t {
    kFinite,
    kNonzero,
    kSnapped,
    kBeyond,
    kFlushed,
    kMagnitude,
    kDeltaLow,
    kDeltaHigh,
    kEvidenceFields,
};

struct Capture {
    float* data;
    std::size_t size;
};

struct Run {
    std::size_t samples = 1;
    const std::int32_t* deltas = nullptr;  ///< [points]
    std::size_t points = 0;
    double* sums = nullptr;  ///< [samples, sum_slots, kSumFields]
    std::size_t sum_slots = 0;
    double* products = nullptr;  ///< [samples, product_slots]
    std::size_t product_slots = 0;
    double* evidence = nullptr;    ///< [points, kEvidenceFields]
    double* magnitudes = nullptr;  ///< [samples, points]
    std::vector<Capture> captures;
    const EvidenceRoom* room = nullptr;  ///< where whole tensors leave their evidence; none in most batches
};

/// The number of a batch; valid until `end_run`.
std::int64_t begin_run(std::shared_ptr<const Run> run);
void end_run(std::int64_t number);
/// nullptr where there is no such batch.
std::shared_ptr<const Run> find_run(std::int64_t number);

}  // namespace gfpq::ort
