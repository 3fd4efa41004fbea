// The part of Caffe's interfaces that quant_layer uses, in as few lines as compile and run it without Caffe.
// Names and signatures are Caffe's; what they do here is the least that a test needs.
#ifndef CAFFE_COMMON_HPP_
#define CAFFE_COMMON_HPP_

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>
#if __cplusplus >= 201103L
#include <memory>
#else
#include <tr1/memory>
#endif

#ifndef CPU_ONLY
typedef struct cublasContext* cublasHandle_t;
#endif

// glog
namespace caffe_check {
enum Severity { INFO, WARNING, FATAL };
class Message {
 public:
  explicit Message(Severity severity) : severity_(severity) {}
  ~Message() {
    std::cerr << text_.str() << std::endl;
    if (severity_ == FATAL) {
      std::abort();
    }
  }
  std::ostream& stream() { return text_; }

 private:
  Severity severity_;
  std::ostringstream text_;
};
}  // namespace caffe_check
#define LOG(severity) ::caffe_check::Message(::caffe_check::severity).stream()
#define CHECK(condition) \
  if (condition) {       \
  } else                 \
    LOG(FATAL) << "Check failed: " #condition " "
#define NO_GPU LOG(FATAL) << "Cannot use GPU in CPU-only Caffe: check mode."

#define INSTANTIATE_CLASS(classname)     \
  char gInstantiationGuard##classname;   \
  template class classname<float>;       \
  template class classname<double>
#define INSTANTIATE_LAYER_GPU_FORWARD(classname)                                                     \
  template void classname<float>::Forward_gpu(const std::vector<Blob<float>*>&,                      \
                                              const std::vector<Blob<float>*>&);                     \
  template void classname<double>::Forward_gpu(const std::vector<Blob<double>*>&,                    \
                                               const std::vector<Blob<double>*>&);
#define INSTANTIATE_LAYER_GPU_BACKWARD(classname)                                                    \
  template void classname<float>::Backward_gpu(const std::vector<Blob<float>*>&,                     \
                                               const std::vector<bool>&,                             \
                                               const std::vector<Blob<float>*>&);                    \
  template void classname<double>::Backward_gpu(const std::vector<Blob<double>*>&,                   \
                                                const std::vector<bool>&,                            \
                                                const std::vector<Blob<double>*>&)
#define INSTANTIATE_LAYER_GPU_FUNCS(classname) \
  INSTANTIATE_LAYER_GPU_FORWARD(classname);    \
  INSTANTIATE_LAYER_GPU_BACKWARD(classname)
#define STUB_GPU(classname)                                                                          \
  template <typename Dtype>                                                                          \
  void classname<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>&, const vector<Blob<Dtype>*>&) {     \
    NO_GPU;                                                                                          \
  }                                                                                                  \
  template <typename Dtype>                                                                          \
  void classname<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>&, const vector<bool>&,              \
                                      const vector<Blob<Dtype>*>&) {                                 \
    NO_GPU;                                                                                          \
  }

namespace caffe {

using std::string;
using std::vector;
#if __cplusplus >= 201103L
using std::shared_ptr;
#else
using std::tr1::shared_ptr;  // Caffe itself takes Boost's
#endif

class Caffe {
 public:
#ifndef CPU_ONLY
  static cublasHandle_t cublas_handle() { return 0; }
#endif
};

}  // namespace caffe

#endif  // CAFFE_COMMON_HPP_
