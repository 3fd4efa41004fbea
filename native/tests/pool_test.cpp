// The pool does every task once, whoever calls it from wherever.
#include "pool.hpp"

#include <atomic>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "check.hpp"

using namespace gfpq;

namespace {

bool each_once(std::size_t count) {
    std::vector<std::atomic<int>> done(count);
    parallel(count, [&](std::size_t index) { done[index].fetch_add(1); });
    for (const auto& times : done)
        if (times.load() != 1) return false;
    return true;
}

}  // namespace

int main() {
    CHECK(threads() >= 1);
    for (unsigned limit : {1u, 2u, 4u, 9u, 3u, 0u}) {
        set_threads(limit);
        for (std::size_t count : {0, 1, 2, 3, 10, 1000}) CHECK(each_once(count), "%u threads, %zu tasks", limit, count);
    }
    set_threads(4);
    for (int i = 0; i < 2000; ++i) CHECK(each_once(5));

    std::atomic<int> inner{0};
    parallel(6, [&](std::size_t) { parallel(7, [&](std::size_t) { inner.fetch_add(1); }); });
    CHECK(inner.load() == 42);

    std::vector<std::thread> callers;
    std::atomic<int> good{0};
    for (int i = 0; i < 4; ++i)
        callers.emplace_back([&] {
            for (int j = 0; j < 300; ++j) good.fetch_add(each_once(20) ? 1 : 0);
        });
    for (std::thread& caller : callers) caller.join();
    CHECK(good.load() == 1200);

#if (defined(__unix__) || defined(__APPLE__)) && !defined(__SANITIZE_THREAD__) && !defined(GFPQ_EMULATED)
    // A forked child has no threads of the parent's pool, and must not wait for them. (Emulators cannot fork with threads.)
    const pid_t child = fork();
    if (child == 0) _exit(each_once(50) ? 0 : 1);
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
#endif
    return check::result("pool");
}
