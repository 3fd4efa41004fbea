#ifndef CAFFE_BLOB_HPP_
#define CAFFE_BLOB_HPP_

#include "caffe/common.hpp"

namespace caffe {

// GPU memory is CPU memory here.
template <typename Dtype>
class Blob {
 public:
  Blob() {}
  explicit Blob(const vector<int>& shape) { Reshape(shape); }
  void Reshape(const vector<int>& shape) {
    int count = 1;
    for (size_t i = 0; i < shape.size(); ++i) {
      count *= shape[i];
    }
    shape_ = shape;
    data_.resize(count);
    diff_.resize(count);
  }
  void ReshapeLike(const Blob& other) { Reshape(other.shape_); }
  int count() const { return static_cast<int>(data_.size()); }
  const Dtype* cpu_data() const { return data_.data(); }
  const Dtype* gpu_data() const { return data_.data(); }
  const Dtype* cpu_diff() const { return diff_.data(); }
  const Dtype* gpu_diff() const { return diff_.data(); }
  Dtype* mutable_cpu_data() { return data_.data(); }
  Dtype* mutable_gpu_data() { return data_.data(); }
  Dtype* mutable_cpu_diff() { return diff_.data(); }
  Dtype* mutable_gpu_diff() { return diff_.data(); }

 private:
  vector<int> shape_;
  vector<Dtype> data_, diff_;
};

}  // namespace caffe

#endif  // CAFFE_BLOB_HPP_
