#include <vector>

#include "caffe/layers/quant_layer.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

template <typename Dtype>
void QuantLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const int count = bottom[0]->count();
  if (bottom[0] != top[0]) {
    caffe_copy(count, bottom[0]->gpu_data(), top[0]->mutable_gpu_data());
  }
  if (!this->enabled_ || count == 0) {
    return;
  }
  GFPQ_PARAM_ST param;
  this->Prepare(&param);
  // Caffe computes on the default stream; the parameter block lies in CPU memory.
  this->Check(HI_GFPQ_QuantAndDeQuant_GPU(top[0]->mutable_gpu_data(), static_cast<unsigned int>(count), this->bits_,
                                          &param, 0, Caffe::cublas_handle()));
  this->Keep(param);
}

template <typename Dtype>
void QuantLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (propagate_down[0] && bottom[0] != top[0]) {
    caffe_copy(top[0]->count(), top[0]->gpu_diff(), bottom[0]->mutable_gpu_diff());
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(QuantLayer);

}  // namespace caffe
