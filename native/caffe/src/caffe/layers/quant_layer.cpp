#include <cstring>
#include <vector>

#include "caffe/layers/quant_layer.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

namespace {

// The parameter block holds the coefficient in its second word; the others follow from it.
int CoefficientOf(const GFPQ_PARAM_ST& param) {
  int delta = 0;
  std::memcpy(&delta, param.buf + 4, sizeof(delta));
  return delta;
}

void FillBlock(int delta, GFPQ_PARAM_ST* param) {
  const unsigned int n = ~static_cast<unsigned int>(delta);
  const unsigned int first = (n << 3) | (n << 11) | (n << 21) | (n << 27);
  const unsigned int words[4] = {first, static_cast<unsigned int>(delta), first ^ 0xA5A5A5A5u,
                                 ~(first ^ 0xA5A5A5A5u)};
  std::memcpy(param->buf, words, sizeof(words));
}

}  // namespace

template <typename Dtype>
void QuantLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const QuantParameter& quant = this->layer_param_.quant_param();
  CHECK(quant.quant_bits() == 8 || quant.quant_bits() == 16)
      << "layer " << this->layer_param_.name() << ": quant_bits is " << quant.quant_bits()
      << ", GFPQ has 8 and 16 bits";
  bits_ = quant.quant_bits() == 8 ? GFPQ_BIT_WIDTH_8BIT : GFPQ_BIT_WIDTH_16BIT;
  enabled_ = quant.quant_en() != 0;
  if (this->blobs_.size() == 0) {
    this->blobs_.resize(1);
    this->blobs_[0].reset(new Blob<Dtype>(vector<int>(1, 2)));
    Dtype* held = this->blobs_[0]->mutable_cpu_data();
    held[0] = held[1] = Dtype(0);
  }
  // The coefficient comes from statistics, not from learning.
  if (this->layer_param_.param_size() == 0) {
    this->layer_param_.add_param();
  }
  this->layer_param_.mutable_param(0)->set_lr_mult(0);
  this->layer_param_.mutable_param(0)->set_decay_mult(0);
}

template <typename Dtype>
void QuantLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  if (bottom[0] != top[0]) {
    top[0]->ReshapeLike(*bottom[0]);
  }
}

template <typename Dtype>
void QuantLayer<Dtype>::Prepare(GFPQ_PARAM_ST* param) {
  const Dtype* held = this->blobs_[0]->cpu_data();
  const bool training = this->phase_ == TRAIN;
  std::memset(param, 0, sizeof(*param));
  if (held[0] > Dtype(0.5)) {
    const Dtype stored = held[1];
    FillBlock(static_cast<int>(stored < 0 ? stored - Dtype(0.5) : stored + Dtype(0.5)), param);
    param->mode = training ? GFPQ_MODE_UPDATE : GFPQ_MODE_APPLY_ONLY;
    return;
  }
  param->mode = GFPQ_MODE_INIT;
  if (!training && !warned_) {
    warned_ = true;
    LOG(WARNING) << "layer " << this->layer_param_.name()
                 << " has no coefficient from training yet: each test batch sets its own";
  }
}

template <typename Dtype>
void QuantLayer<Dtype>::Keep(const GFPQ_PARAM_ST& param) {
  if (this->phase_ == TRAIN) {
    Dtype* held = this->blobs_[0]->mutable_cpu_data();
    held[0] = Dtype(1);
    held[1] = static_cast<Dtype>(CoefficientOf(param));
  }
}

template <typename Dtype>
void QuantLayer<Dtype>::Check(int code) const {
  if (code == GFPQ_SUCCESS) {
    return;
  }
  LOG(FATAL) << "layer " << this->layer_param_.name() << ": GFPQ returned " << code
             << "; a line of the library above says why. From a GPU library built for another GPU it is -65536: build "
                "it with the compile option that get_gpu_version.sh prints";
}

template <typename Dtype>
void QuantLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const int count = bottom[0]->count();
  if (bottom[0] != top[0]) {
    caffe_copy(count, bottom[0]->cpu_data(), top[0]->mutable_cpu_data());
  }
  if (!enabled_ || count == 0) {
    return;
  }
  GFPQ_PARAM_ST param;
  Prepare(&param);
  Check(HI_GFPQ_QuantAndDeQuant(top[0]->mutable_cpu_data(), static_cast<unsigned int>(count), bits_, &param));
  Keep(param);
}

template <typename Dtype>
void QuantLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (propagate_down[0] && bottom[0] != top[0]) {
    caffe_copy(top[0]->count(), top[0]->cpu_diff(), bottom[0]->mutable_cpu_diff());
  }
}

#ifdef CPU_ONLY
STUB_GPU(QuantLayer);
#endif

INSTANTIATE_CLASS(QuantLayer);
REGISTER_LAYER_CLASS(Quant);

}  // namespace caffe
