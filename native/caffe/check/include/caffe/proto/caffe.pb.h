// What protoc would make of the messages that quant_layer uses.
#ifndef CAFFE_PROTO_CAFFE_PB_H_
#define CAFFE_PROTO_CAFFE_PB_H_

#include "caffe/common.hpp"

namespace caffe {

enum Phase { TRAIN = 0, TEST = 1 };

class ParamSpec {
 public:
  ParamSpec() : lr_mult_(1), decay_mult_(1) {}
  float lr_mult() const { return lr_mult_; }
  float decay_mult() const { return decay_mult_; }
  void set_lr_mult(float value) { lr_mult_ = value; }
  void set_decay_mult(float value) { decay_mult_ = value; }

 private:
  float lr_mult_, decay_mult_;
};

class QuantParameter {
 public:
  QuantParameter() : quant_bits_(8), quant_en_(true) {}
  unsigned int quant_bits() const { return quant_bits_; }
  bool quant_en() const { return quant_en_; }
  void set_quant_bits(unsigned int value) { quant_bits_ = value; }
  void set_quant_en(bool value) { quant_en_ = value; }

 private:
  unsigned int quant_bits_;
  bool quant_en_;
};

class LayerParameter {
 public:
  LayerParameter() : phase_(TRAIN) {}
  const string& name() const { return name_; }
  Phase phase() const { return phase_; }
  const QuantParameter& quant_param() const { return quant_param_; }
  QuantParameter* mutable_quant_param() { return &quant_param_; }
  int param_size() const { return static_cast<int>(params_.size()); }
  const ParamSpec& param(int i) const { return params_[i]; }
  ParamSpec* mutable_param(int i) { return &params_[i]; }
  ParamSpec* add_param() {
    params_.push_back(ParamSpec());
    return &params_.back();
  }
  void set_name(const string& value) { name_ = value; }
  void set_phase(Phase value) { phase_ = value; }

 private:
  string name_;
  Phase phase_;
  QuantParameter quant_param_;
  vector<ParamSpec> params_;
};

}  // namespace caffe

#endif  // CAFFE_PROTO_CAFFE_PB_H_
