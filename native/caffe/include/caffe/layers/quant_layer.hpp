#ifndef CAFFE_QUANT_LAYER_HPP_
#define CAFFE_QUANT_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"
#include "gfpq.hpp"

namespace caffe {

/**
 * @brief A quantization point: data to the GFPQ grid and back to float, the gradient straight through.
 *
 * While training, the first batch sets the coefficient (INIT) and later ones can only raise it (UPDATE). In the test
 * phase the stored one is used (APPLY_ONLY); where there is none yet, each batch sets its own and a warning says so.
 * quant_en: 0 makes the layer pass its bottom on.
 *
 * The coefficient is kept in the layer's only blob, two numbers: 1 once there is one, and the coefficient. It goes into
 * snapshots and is shared with the solver's test nets. Its learning rate and decay are zero.
 *
 * May work in place. Written in C++98, as Caffe 1.0 is.
 */
template <typename Dtype>
class QuantLayer : public Layer<Dtype> {
 public:
  explicit QuantLayer(const LayerParameter& param)
      : Layer<Dtype>(param), bits_(GFPQ_BIT_WIDTH_8BIT), enabled_(true), warned_(false) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "Quant"; }
  virtual inline int ExactNumBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 1; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  /// Chooses the mode, and fills in the stored coefficient.
  void Prepare(GFPQ_PARAM_ST* param);
  /// Stores the coefficient that a call left, while training.
  void Keep(const GFPQ_PARAM_ST& param);
  /// Stops with an explanation when the library refused.
  void Check(int code) const;

  unsigned int bits_;
  bool enabled_;
  bool warned_;
};

}  // namespace caffe

#endif  // CAFFE_QUANT_LAYER_HPP_
