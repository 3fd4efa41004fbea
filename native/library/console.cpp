#include "console.hpp"

#include <cstdarg>
#include <cstdio>

namespace gfpq::library {

int complain(const char* function, int code, const char* format, ...) noexcept {
    char explanation[1024];
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(explanation, sizeof explanation, format, arguments);
    va_end(arguments);
    char line[1280];
    std::snprintf(line, sizeof line, "[ERR][%s] %s (returns 0x%08X; data and parameter block are unchanged)\n", function,
                  explanation, static_cast<unsigned>(code));
    std::fputs(line, stderr);
    return code;
}

}  // namespace gfpq::library
