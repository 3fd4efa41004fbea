#ifndef CAFFE_LAYER_HPP_
#define CAFFE_LAYER_HPP_

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/proto/caffe.pb.h"

#define REGISTER_LAYER_CLASS(type)                                                       \
  template <typename Dtype>                                                              \
  shared_ptr<Layer<Dtype> > Creator_##type##Layer(const LayerParameter& param) {         \
    return shared_ptr<Layer<Dtype> >(new type##Layer<Dtype>(param));                     \
  }                                                                                      \
  template shared_ptr<Layer<float> > Creator_##type##Layer<float>(const LayerParameter&); \
  template shared_ptr<Layer<double> > Creator_##type##Layer<double>(const LayerParameter&)

namespace caffe {

template <typename Dtype>
class Layer {
 public:
  explicit Layer(const LayerParameter& param) : layer_param_(param), phase_(param.phase()) {}
  virtual ~Layer() {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>&, const vector<Blob<Dtype>*>&) {}
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) = 0;
  virtual inline const char* type() const { return ""; }
  virtual inline int ExactNumBottomBlobs() const { return -1; }
  virtual inline int ExactNumTopBlobs() const { return -1; }
  vector<shared_ptr<Blob<Dtype> > >& blobs() { return blobs_; }
  const LayerParameter& layer_param() const { return layer_param_; }
  void Forward(bool on_gpu, const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
    Reshape(bottom, top);
    on_gpu ? Forward_gpu(bottom, top) : Forward_cpu(bottom, top);
  }
  void Backward(bool on_gpu, const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                const vector<Blob<Dtype>*>& bottom) {
    on_gpu ? Backward_gpu(top, propagate_down, bottom) : Backward_cpu(top, propagate_down, bottom);
  }

 protected:
  LayerParameter layer_param_;
  Phase phase_;
  vector<shared_ptr<Blob<Dtype> > > blobs_;
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) = 0;
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) = 0;
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom) = 0;
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom) = 0;
};

}  // namespace caffe

#endif  // CAFFE_LAYER_HPP_
