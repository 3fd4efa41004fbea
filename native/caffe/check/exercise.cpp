// Runs the layer as Caffe would, on the minimal interfaces beside this file. Prints "ok", or what was wrong.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "caffe/layers/quant_layer.hpp"

using caffe::Blob;
using caffe::LayerParameter;
using caffe::QuantLayer;

namespace {

void Expect(bool good, const char* what) {
  if (!good) {
    std::printf("wrong: %s\n", what);
    std::exit(1);
  }
}

template <typename Dtype>
void Fill(Blob<Dtype>* blob, Dtype factor) {
  for (int i = 0; i < blob->count(); ++i) {
    blob->mutable_cpu_data()[i] = factor * static_cast<Dtype>(i);
    blob->mutable_cpu_diff()[i] = static_cast<Dtype>(100 + i);
  }
}

template <typename Dtype>
void Exercise(bool on_gpu) {
  LayerParameter param;
  param.set_name("q");
  param.set_phase(caffe::TRAIN);
  Blob<Dtype> bottom(std::vector<int>(1, 10)), top;
  std::vector<Blob<Dtype>*> bottoms(1, &bottom), tops(1, &top);
  QuantLayer<Dtype> layer(param);
  layer.LayerSetUp(bottoms, tops);
  Expect(layer.layer_param().param(0).lr_mult() == 0, "the solver may not touch the coefficient");
  const Dtype* held = layer.blobs()[0]->cpu_data();
  Expect(held[0] == 0, "no coefficient before the first batch");

  Fill(&bottom, Dtype(1));
  layer.Forward(on_gpu, bottoms, tops);
  Expect(held[0] == 1 && held[1] == -77, "INIT on 0 ... 9 gives -77");
  Expect(std::fabs(top.cpu_data()[9] - Dtype(8.724062)) < 1e-5, "the guide's sample");
  Expect(bottom.cpu_data()[9] == 9, "the bottom stays");
  Fill(&bottom, Dtype(4));
  layer.Forward(on_gpu, bottoms, tops);
  Expect(held[1] == -45, "UPDATE: two octaves are 32 steps");
  Fill(&bottom, Dtype(1));
  layer.Forward(on_gpu, bottoms, tops);
  Expect(held[1] == -45, "UPDATE never lowers");

  Fill(&top, Dtype(0));
  Fill(&bottom, Dtype(0));
  layer.Backward(on_gpu, tops, std::vector<bool>(1, true), bottoms);
  Expect(bottom.cpu_diff()[3] == 103, "the gradient goes straight through");

  param.set_phase(caffe::TEST);
  QuantLayer<Dtype> test(param);
  test.blobs() = layer.blobs();
  test.LayerSetUp(bottoms, tops);
  Fill(&bottom, Dtype(1000));
  test.Forward(on_gpu, bottoms, tops);
  Expect(held[1] == -45, "APPLY stores nothing");
  Expect(top.cpu_data()[9] < 36, "APPLY saturates");
  QuantLayer<Dtype> fresh(param);
  fresh.LayerSetUp(bottoms, tops);
  fresh.Forward(on_gpu, bottoms, tops);
  Expect(fresh.blobs()[0]->cpu_data()[0] == 0, "a test batch sets no coefficient for good");
  Expect(top.cpu_data()[9] > 8000, "but is quantized by its own");

  std::vector<Blob<Dtype>*> in_place(1, &bottom);
  Fill(&bottom, Dtype(1));
  test.Forward(on_gpu, in_place, in_place);
  Expect(bottom.cpu_data()[3] != 3 && std::fabs(bottom.cpu_data()[3] - 3) < 0.1, "in place");

  param.mutable_quant_param()->set_quant_en(false);
  QuantLayer<Dtype> off(param);
  off.LayerSetUp(bottoms, tops);
  Fill(&bottom, Dtype(1));
  off.Forward(on_gpu, bottoms, tops);
  Expect(top.cpu_data()[3] == 3, "quant_en: 0 passes the bottom on");
}

}  // namespace

int main(int count, char** words) {
  const bool on_gpu = count > 1 && std::string(words[1]) == "gpu";
  Exercise<float>(on_gpu);
  Exercise<double>(on_gpu);
  std::puts("ok");
  return 0;
}
