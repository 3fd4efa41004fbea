#include "pool.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "codec.hpp"

namespace gfpq {
namespace {

constexpr unsigned kMostThreads = 256;
std::atomic<unsigned> thread_limit{0};  // 0: not asked for

/// Changes when the process forks: threads do not come along into the child.
long process_identity() noexcept {
#if defined(__unix__) || defined(__APPLE__)
    return static_cast<long>(getpid());
#else
    return 0;
#endif
}

class Pool {
public:
    Pool() noexcept : process_(process_identity()) {}

    bool belongs_here() const noexcept { return process_ == process_identity(); }

    void run(std::size_t count, Task task, void* context, unsigned helpers) noexcept {
        const std::unique_lock<std::mutex> alone(running_, std::try_to_lock);
        if (!alone.owns_lock()) return run_here(count, task, context);
        helpers = grow_to(helpers);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            task_ = task;
            context_ = context;
            count_ = count;
            next_.store(0, std::memory_order_relaxed);
            invited_ = helpers;
            busy_ = helpers;
            ++generation_;
        }
        wake_.notify_all();
        work();
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
    }

    static void run_here(std::size_t count, Task task, void* context) noexcept {
        for (std::size_t i = 0; i < count; ++i) task(context, i);
    }

    void stop() noexcept {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

private:
    void work() noexcept {
        for (;;) {
            const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
            if (index >= count_) return;
            task_(context_, index);
        }
    }

    void serve(std::size_t number) noexcept {
        unsigned long seen = 0;
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
            if (stopping_) return;
            seen = generation_;
            if (number >= invited_) continue;
            lock.unlock();
            work();
            lock.lock();
            if (--busy_ == 0) done_.notify_one();
        }
    }

    /// Number of helpers there are; fewer than wanted when the system gives no more threads.
    unsigned grow_to(unsigned wanted) noexcept {
        try {
            while (threads_.size() < wanted) {
                const std::size_t number = threads_.size();
                threads_.emplace_back([this, number] { serve(number); });
            }
        } catch (...) {
            wanted = static_cast<unsigned>(threads_.size());
        }
        return wanted;
    }

    const long process_;
    std::mutex running_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> threads_;
    Task task_ = nullptr;
    void* context_ = nullptr;
    std::size_t count_ = 0;
    std::atomic<std::size_t> next_{0};
    unsigned invited_ = 0;
    unsigned busy_ = 0;
    unsigned long generation_ = 0;
    bool stopping_ = false;
};

/// Owns the pool until the library goes. The parent's pool is left alone in a forked child: its threads are not there,
/// and its locks may be held for ever.
class PoolOwner {
public:
    Pool* get() noexcept {
        Pool* pool = pool_.load(std::memory_order_acquire);
        if (pool != nullptr && pool->belongs_here()) return pool;
        Pool* fresh = new (std::nothrow) Pool;
        if (fresh == nullptr) return nullptr;
        if (pool_.compare_exchange_strong(pool, fresh, std::memory_order_acq_rel)) return fresh;
        delete fresh;
        return pool;
    }

    ~PoolOwner() {
#if !defined(_WIN32)  // there the loader has ended the threads already, and waiting for them would never end
        Pool* pool = pool_.load(std::memory_order_acquire);
        if (pool != nullptr && pool->belongs_here()) {
            pool->stop();
            delete pool;
        }
#endif
    }

private:
    std::atomic<Pool*> pool_{nullptr};
};

PoolOwner owner;

unsigned default_threads() noexcept {
    static const unsigned value = [] {
        unsigned long asked = 0;
        if (const char* text = std::getenv("GFPQ_THREADS")) asked = std::strtoul(text, nullptr, 10);
        if (asked == 0) asked = std::thread::hardware_concurrency();
        if (asked == 0) asked = 1;
        return static_cast<unsigned>(asked < kMostThreads ? asked : kMostThreads);
    }();
    return value;
}

}  // namespace

unsigned threads() noexcept {
    const unsigned limit = thread_limit.load(std::memory_order_relaxed);
    return limit == 0 ? default_threads() : limit;
}

void set_threads(unsigned limit) noexcept {
    thread_limit.store(limit < kMostThreads ? limit : kMostThreads, std::memory_order_relaxed);
}

void parallel_for(std::size_t count, Task task, void* context) noexcept {
    const unsigned limit = threads();
    Pool* pool = count > 1 && limit > 1 ? owner.get() : nullptr;
    if (pool == nullptr) return Pool::run_here(count, task, context);
    const std::size_t helpers = count - 1 < limit - 1 ? count - 1 : limit - 1;
    pool->run(count, task, context, static_cast<unsigned>(helpers));
}

}  // namespace gfpq
