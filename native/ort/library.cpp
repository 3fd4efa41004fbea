// The entry point that ONNX Runtime calls when the library is registered, and the operator as it wants it described.
#include <algorithm>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

#include "abi.hpp"
#include "tap.hpp"

#if defined(_WIN32)
#define GFPQ_EXPORT __declspec(dllexport)
#else
#define GFPQ_EXPORT __attribute__((visibility("default")))
#endif

namespace gfpq::ort {
namespace {

constexpr const char* kDomain = "gfpq_inspect.engine";
constexpr int kFail = 1;  // ONNX Runtime's code for an error of no other kind
constexpr std::size_t kMostOutputs = 64;

struct Kernel {
    const Interface* interface;
    Program program;
};

/// Throws what ONNX Runtime complains of.
class Checked {
public:
    explicit Checked(const Interface& interface) : interface_(interface) {}
    void operator()(Status* status) const {
        if (status == nullptr) return;
        interface_.release(status);
        throw std::runtime_error("ONNX Runtime refused a call of a tap");
    }

private:
    const Interface& interface_;
};

std::string text_attribute(const Interface& interface, const KernelInfo* info, const char* name) {
    const Checked check(interface);
    std::size_t size = 0;
    // The first call says how much room is needed; some versions call that an error.
    if (Status* status = interface.attribute(info, name, nullptr, &size)) interface.release(status);
    std::string text(size, '\0');
    check(interface.attribute(info, name, text.data(), &size));
    while (!text.empty() && text.back() == '\0') text.pop_back();
    return text;
}

std::vector<std::int64_t> lengths_of(const Interface& interface, const Value* value) {
    const Checked check(interface);
    ShapeInfo* shape = nullptr;
    check(interface.shape_of(value, &shape));
    std::size_t rank = 0;
    std::vector<std::int64_t> lengths;
    Status* status = interface.rank_of(shape, &rank);
    if (status == nullptr) {
        lengths.resize(rank);
        status = interface.lengths_of(shape, lengths.data(), rank);
    }
    interface.release(shape);
    check(status);
    return lengths;
}

void* data_of(const Interface& interface, const Value* value) {
    void* data = nullptr;
    Checked{interface}(interface.data_of(const_cast<Value*>(value), &data));
    return data;
}

void compute(const Kernel& kernel, KernelContext* context) {
    const Interface& interface = *kernel.interface;
    const Checked check(interface);
    const Value* value = nullptr;
    check(interface.input(context, 0, &value));
    const auto run = find_run(*static_cast<const std::int64_t*>(data_of(interface, value)));
    if (run == nullptr) throw std::runtime_error("a tap was run outside of a batch");
    std::size_t inputs = 0, outputs = 0;
    check(interface.input_count(context, &inputs));
    check(interface.output_count(context, &outputs));
    if (inputs != kernel.program.slots + kernel.program.operands + 1 || outputs != std::max<std::size_t>(1, kernel.program.outputs()))
        throw std::runtime_error("a tap's program does not fit its node");
    Tensors tensors;
    for (std::size_t slot = 0; slot < kernel.program.slots; ++slot) {
        check(interface.input(context, slot + 1, &value));
        auto lengths = lengths_of(interface, value);
        if (slot == 0) tensors.shape = lengths;
        if (lengths != tensors.shape) throw std::runtime_error("lanes have tensors of different shapes here");
        tensors.inputs.push_back(static_cast<const float*>(data_of(interface, value)));
    }
    for (std::size_t operand = 0; operand < kernel.program.operands; ++operand) {
        check(interface.input(context, kernel.program.slots + operand + 1, &value));
        std::size_t size = 1;
        for (const std::int64_t length : lengths_of(interface, value)) size *= static_cast<std::size_t>(length);
        tensors.operands.push_back(static_cast<const float*>(data_of(interface, value)));
        tensors.operand_sizes.push_back(size);
    }
    const std::int64_t nothing = 0;
    if (kernel.program.outputs() == 0) {
        Value* output = nullptr;
        check(interface.output(context, 0, &nothing, 1, &output));
    }
    for (std::size_t place = 0; place < kernel.program.outputs(); ++place) {
        Value* output = nullptr;
        check(interface.output(context, place, tensors.shape.data(), tensors.shape.size(), &output));
        tensors.outputs.push_back(static_cast<float*>(data_of(interface, output)));
    }
    if (const char* problem = work(kernel.program, *run, tensors)) throw std::runtime_error(problem);
}

/// No exception may pass through ONNX Runtime's frames: it becomes a status.
template <class Body>
Status* guarded(const Interface& interface, Body&& body) noexcept {
    try {
        body();
        return nullptr;
    } catch (const std::exception& error) {
        return interface.make_status(kFail, error.what());
    } catch (...) {
        return interface.make_status(kFail, "a tap failed");
    }
}

/// Output i may lie where input i + 1 lies (input 0 is the number of the batch).
std::size_t pairs(int** inputs, int** outputs) {
    *inputs = new int[kMostOutputs];
    *outputs = new int[kMostOutputs];
    for (std::size_t i = 0; i < kMostOutputs; ++i) {
        (*inputs)[i] = static_cast<int>(i + 1);
        (*outputs)[i] = static_cast<int>(i);
    }
    return kMostOutputs;
}

void release_pairs(int* inputs, int* outputs) {
    delete[] inputs;
    delete[] outputs;
}

Operator describe_tap() {
    Operator tap{};
    tap.version = kInterfaceVersion;
    tap.name = [](const Operator*) { return "Tap"; };
    tap.provider = [](const Operator*) -> const char* { return nullptr; };
    tap.input_type = [](const Operator*, std::size_t index) { return index == 0 ? kInt64 : kFloat; };
    tap.input_count = [](const Operator*) -> std::size_t { return 2; };
    tap.output_type = [](const Operator*, std::size_t) { return kFloat; };
    tap.output_count = [](const Operator*) -> std::size_t { return 1; };
    tap.input_arity = [](const Operator*, std::size_t index) { return index == 0 ? kRequired : kVariadic; };
    tap.output_arity = [](const Operator*, std::size_t) { return kVariadic; };
    tap.input_memory = [](const Operator*, std::size_t) { return 0; };
    tap.fewest_inputs = [](const Operator*) { return 1; };
    tap.inputs_alike = [](const Operator*) { return 1; };
    tap.fewest_outputs = [](const Operator*) { return 1; };
    tap.outputs_alike = [](const Operator*) { return 1; };
    tap.create_kernel_or_fail = [](const Operator*, const Interface* interface, const KernelInfo* info, void** kernel) {
        return guarded(*interface, [&] {
            auto made = std::make_unique<Kernel>();
            made->interface = interface;
            made->program = read_program(text_attribute(*interface, info, "program"));
            *kernel = made.release();
        });
    };
    tap.compute_or_fail = [](void* kernel, KernelContext* context) {
        const auto& one = *static_cast<const Kernel*>(kernel);
        return guarded(*one.interface, [&] { compute(one, context); });
    };
    tap.destroy_kernel = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    tap.first_version = [](const Operator*) { return 1; };
    tap.last_version = [](const Operator*) { return 1; };
    tap.may_overwrite = pairs;
    tap.release_may_overwrite = release_pairs;
    tap.aliases = [](int** inputs, int** outputs) -> std::size_t {
        *inputs = *outputs = nullptr;
        return 0;
    };
    tap.release_aliases = release_pairs;
    return tap;
}

const Interface* api_of(const InterfaceSource* source) noexcept {
    return source == nullptr ? nullptr : source->interface_of(kInterfaceVersion);
}

}  // namespace
}  // namespace gfpq::ort

extern "C" GFPQ_EXPORT gfpq::ort::Status* RegisterCustomOps(gfpq::ort::SessionOptions* options,
                                                            const gfpq::ort::InterfaceSource* source) {
    using namespace gfpq::ort;
    const Interface* interface = api_of(source);
    if (interface == nullptr) {
        // Without its interface there is no way to make a status of this runtime's; version 1 every one has.
        const Interface* first = source->interface_of(1);
        return first->make_status(kFail, "this version of ONNX Runtime is older than the operators");
    }
    static const Operator tap = describe_tap();
    static OperatorDomain* domain = nullptr;
    static Status* (*const make)(const Interface*) = [](const Interface* current) {
        if (domain != nullptr) return static_cast<Status*>(nullptr);
        if (Status* status = current->make_domain(kDomain, &domain)) return status;
        return current->add_operator(domain, &tap);
    };
    if (Status* status = make(interface)) return status;
    return interface->add_domain(options, domain);
}
