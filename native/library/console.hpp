// What the libraries say when something goes wrong: one line on standard error, in one write.
#pragma once

namespace gfpq::library {

/// Writes "[ERR][function] explanation (returns 0x........; data and parameter block are unchanged)" and gives `code`
/// back. `format` and what follows are those of printf. Calls from several threads do not mix within a line.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
int complain(const char* function, int code, const char* format, ...) noexcept;

/// True where `pointer` is memory that only a GPU can read. Always false in the library without CUDA.
bool is_gpu_memory(const void* pointer) noexcept;

}  // namespace gfpq::library
