// The part of ONNX Runtime's C interface that the operators call, declared by what it is: a table of functions that only
// ever grows, so that a slot once given never moves, and a structure that describes an operator. The wheels ship the
// library without headers; this is all that is needed of them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gfpq::ort {

/// Version of the interface that is asked for: the first whose operators may write their outputs over their inputs.
inline constexpr std::uint32_t kInterfaceVersion = 18;

struct Status;
struct KernelInfo;
struct KernelContext;
struct Value;
struct ShapeInfo;
struct SessionOptions;
struct OperatorDomain;

enum ElementType : int { kFloat = 1, kInt64 = 7 };
enum Arity : int { kRequired = 0, kOptional = 1, kVariadic = 2 };

struct Interface {
    void* slots[102];  // as many as version 1 has; later ones are not called

    template <class Function, std::size_t kSlot, class... Arguments>
    auto call(Arguments... arguments) const noexcept {
        static_assert(kSlot < 102);
        return reinterpret_cast<Function>(slots[kSlot])(arguments...);
    }

    Status* make_status(int code, const char* text) const noexcept {
        return call<Status* (*)(int, const char*), 0>(code, text);
    }
    Status* make_domain(const char* name, OperatorDomain** domain) const noexcept {
        return call<Status* (*)(const char*, OperatorDomain**), 26>(name, domain);
    }
    Status* add_operator(OperatorDomain* domain, const struct Operator* description) const noexcept {
        return call<Status* (*)(OperatorDomain*, const Operator*), 27>(domain, description);
    }
    Status* add_domain(SessionOptions* options, OperatorDomain* domain) const noexcept {
        return call<Status* (*)(SessionOptions*, OperatorDomain*), 28>(options, domain);
    }
    Status* data_of(Value* value, void** data) const noexcept {
        return call<Status* (*)(Value*, void**), 51>(value, data);
    }
    Status* rank_of(const ShapeInfo* shape, std::size_t* rank) const noexcept {
        return call<Status* (*)(const ShapeInfo*, std::size_t*), 61>(shape, rank);
    }
    Status* lengths_of(const ShapeInfo* shape, std::int64_t* lengths, std::size_t rank) const noexcept {
        return call<Status* (*)(const ShapeInfo*, std::int64_t*, std::size_t), 62>(shape, lengths, rank);
    }
    Status* shape_of(const Value* value, ShapeInfo** shape) const noexcept {
        return call<Status* (*)(const Value*, ShapeInfo**), 65>(value, shape);
    }
    Status* attribute(const KernelInfo* info, const char* name, char* text, std::size_t* size) const noexcept {
        return call<Status* (*)(const KernelInfo*, const char*, char*, std::size_t*), 87>(info, name, text, size);
    }
    Status* input_count(const KernelContext* context, std::size_t* count) const noexcept {
        return call<Status* (*)(const KernelContext*, std::size_t*), 88>(context, count);
    }
    Status* output_count(const KernelContext* context, std::size_t* count) const noexcept {
        return call<Status* (*)(const KernelContext*, std::size_t*), 89>(context, count);
    }
    Status* input(const KernelContext* context, std::size_t index, const Value** value) const noexcept {
        return call<Status* (*)(const KernelContext*, std::size_t, const Value**), 90>(context, index, value);
    }
    Status* output(KernelContext* context, std::size_t index, const std::int64_t* lengths, std::size_t rank,
                   Value** value) const noexcept {
        return call<Status* (*)(KernelContext*, std::size_t, const std::int64_t*, std::size_t, Value**), 91>(
            context, index, lengths, rank, value);
    }
    void release(Status* status) const noexcept { call<void (*)(Status*), 93>(status); }
    void release(ShapeInfo* shape) const noexcept { call<void (*)(ShapeInfo*), 99>(shape); }
};

/// What the library hands to whoever registers operators.
struct InterfaceSource {
    const Interface* (*interface_of)(std::uint32_t version);
    const char* (*library_version)();
};

/// An operator: its name, its inputs and outputs, its kernel. The fields and their order are those of version 18.
struct Operator {
    std::uint32_t version;
    void* (*create_kernel)(const Operator*, const Interface*, const KernelInfo*);
    const char* (*name)(const Operator*);
    const char* (*provider)(const Operator*);
    ElementType (*input_type)(const Operator*, std::size_t);
    std::size_t (*input_count)(const Operator*);
    ElementType (*output_type)(const Operator*, std::size_t);
    std::size_t (*output_count)(const Operator*);
    void (*compute)(void*, KernelContext*);
    void (*destroy_kernel)(void*);
    Arity (*input_arity)(const Operator*, std::size_t);
    Arity (*output_arity)(const Operator*, std::size_t);
    int (*input_memory)(const Operator*, std::size_t);
    int (*fewest_inputs)(const Operator*);
    int (*inputs_alike)(const Operator*);
    int (*fewest_outputs)(const Operator*);
    int (*outputs_alike)(const Operator*);
    Status* (*create_kernel_or_fail)(const Operator*, const Interface*, const KernelInfo*, void**);
    Status* (*compute_or_fail)(void*, KernelContext*);
    Status* (*infer_shapes)(const Operator*, void*);
    int (*first_version)(const Operator*);
    int (*last_version)(const Operator*);
    std::size_t (*may_overwrite)(int**, int**);
    void (*release_may_overwrite)(int*, int*);
    std::size_t (*aliases)(int**, int**);
    void (*release_aliases)(int*, int*);
};

}  // namespace gfpq::ort
