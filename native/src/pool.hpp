// One pool of threads for everything in the core.
#pragma once

#include <cstddef>

namespace gfpq {

using Task = void (*)(void* context, std::size_t index);

/// Calls task(context, 0 ... count - 1), each once, in any order, on up to `threads()` threads, the caller among them.
/// Returns when all are done. While another thread uses the pool, the caller does everything itself, so nothing ever
/// waits for a stranger's work; a task that calls parallel_for is served in the same way.
void parallel_for(std::size_t count, Task task, void* context) noexcept;

/// parallel_for with a callable. Nothing is allocated.
template <class Callable>
void parallel(std::size_t count, Callable&& callable) noexcept {
    auto* pointer = &callable;
    using Pointer = decltype(pointer);
    parallel_for(count, [](void* context, std::size_t index) { (*static_cast<Pointer>(context))(index); },
                 static_cast<void*>(pointer));
}

}  // namespace gfpq
