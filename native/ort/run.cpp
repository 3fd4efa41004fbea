#include "run.hpp"

#include <map>
#include <mutex>
#include <utility>

namespace gfpq::ort {
namespace {

std::mutex mutex;
std::map<std::int64_t, std::shared_ptr<const Run>>& runs() {
    static auto* all = new std::map<std::int64_t, std::shared_ptr<const Run>>();  // outlives every static of others
    return *all;
}
std::int64_t last_number = 0;

}  // namespace

std::int64_t begin_run(std::shared_ptr<const Run> run) {
    const std::lock_guard<std::mutex> lock(mutex);
    runs().emplace(++last_number, std::move(run));
    return last_number;
}

void end_run(std::int64_t number) {
    const std::lock_guard<std::mutex> lock(mutex);
    runs().erase(number);
}

std::shared_ptr<const Run> find_run(std::int64_t number) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = runs().find(number);
    return found == runs().end() ? nullptr : found->second;
}

}  // namespace gfpq::ort
