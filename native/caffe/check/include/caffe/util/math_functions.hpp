#ifndef CAFFE_UTIL_MATH_FUNCTIONS_HPP_
#define CAFFE_UTIL_MATH_FUNCTIONS_HPP_

#include <cstring>

namespace caffe {

template <typename Dtype>
void caffe_copy(const int count, const Dtype* from, Dtype* to) {
  if (from != to) {
    std::memcpy(to, from, sizeof(Dtype) * static_cast<size_t>(count));
  }
}

}  // namespace caffe

#endif  // CAFFE_UTIL_MATH_FUNCTIONS_HPP_
