// Repeats recorded calls from a file of our own making and says how many came out differently. Runs where Python cannot.
//
// The file holds, for each call: eight 32-bit numbers (bytes of an element, bit width, mode, whether there is a block,
// expected return code, count, 0, 0), the block before and after, the data before and after.
#include <cstdio>
#include <cstring>
#include <vector>

#include "gfpq.hpp"

template <class T>
static bool repeats(const unsigned* head, const unsigned char* before, const unsigned char* after, const char* in,
                    const char* out) {
    std::vector<T> data(head[5]);
    if (head[5] != 0) std::memcpy(data.data(), in, head[5] * sizeof(T));
    GFPQ_PARAM_ST param;
    param.mode = head[2];
    std::memcpy(param.buf, before, sizeof param.buf);
    T none = 0;
    const int code = HI_GFPQ_QuantAndDeQuant(head[5] != 0 ? data.data() : &none, head[5], head[1], head[3] ? &param : 0);
    return static_cast<unsigned>(code) == head[4] && (head[5] == 0 || std::memcmp(data.data(), out, head[5] * sizeof(T)) == 0) &&
           (head[3] == 0 || std::memcmp(param.buf, after, sizeof param.buf) == 0);
}

int main(int count, char** words) {
    std::FILE* file = count > 1 ? std::fopen(words[1], "rb") : 0;
    if (file == 0) return 2;
    unsigned head[8];
    int calls = 0;
    int different = 0;
    while (std::fread(head, sizeof head, 1, file) == 1) {
        unsigned char before[16], after[16];
        std::vector<char> in(head[0] * head[5] + 1), out(head[0] * head[5] + 1);
        if (std::fread(before, 16, 1, file) != 1 || std::fread(after, 16, 1, file) != 1) return 2;
        if (std::fread(in.data(), 1, in.size() - 1, file) != in.size() - 1) return 2;
        if (std::fread(out.data(), 1, out.size() - 1, file) != out.size() - 1) return 2;
        const bool same = head[0] == 4 ? repeats<float>(head, before, after, in.data(), out.data())
                                       : repeats<double>(head, before, after, in.data(), out.data());
        ++calls;
        if (!same) {
            ++different;
            std::printf("call %d differs\n", calls - 1);
        }
    }
    std::printf("%d calls, %d different\n", calls, different);
    return different == 0 ? 0 : 1;
}
