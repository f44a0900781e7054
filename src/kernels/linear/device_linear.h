#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/linear/device_weight.h"

struct CUstream_st;

namespace lychee::linear {

// Up to this many rows the CUDA backend reads weights once, straight from their device form, and
// what a row computes does not depend on how many rows go with it. Beyond, weights are widened to
// bf16 a panel at a time for cuBLASLt; without it rows go sixteen at a time.
constexpr int64_t kMaxDeviceDecodeRows = 16;

// cuBLASLt, loaded when this is made, so that a program starts on machines that lack it. One serves
// a thread's calls on any stream of the current device.
class DeviceGemm {
 public:
  // Throws Error(kUnsupported) when the library cannot be loaded.
  DeviceGemm();
  ~DeviceGemm();
  DeviceGemm(const DeviceGemm&) = delete;
  DeviceGemm& operator=(const DeviceGemm&) = delete;

  // All in device memory; bf16 a and b, f32 c.
  struct Params {
    int64_t num_rows, out_features, in_features;
    const bf16* x;       // [num_rows, in_features], row stride x_stride
    const bf16* weight;  // [out_features, in_features], row stride weight_stride
    int64_t x_stride, weight_stride;
    const float* bias;  // [out_features] or null
    float* y;           // [num_rows, out_features], row stride y_stride
    int64_t y_stride;
    bool accumulate;
    void* workspace;  // kWorkspaceBytes
  };
  static constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;
  void multiply(const Params& params, CUstream_st* stream) const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

// One of several weights that multiply the same activations.
struct DeviceLinearTarget {
  DeviceWeight weight;
  const float* bias;  // [out_features] or null
  float* y;           // [num_rows, out_features], row stride y_stride
  int64_t y_stride;   // elements
};

// y[r, o] (+)= sum_i x[r, i] · W[o, i] + bias[o], for each target. All pointers are device memory.
struct DeviceLinearParams {
  int64_t num_rows;
  int64_t in_features;  // of every target
  const float* x;       // [num_rows, in_features], row stride x_stride; aligned to 16 bytes
  int64_t x_stride;     // elements, a multiple of 4 unless num_rows is 1
  std::span<const DeviceLinearTarget> targets;
  bool accumulate;  // adds to y (the residual) instead of overwriting it
  // Takes exactly two targets of one format and shape, gate and up, and writes
  // silu(gate) · up to the y of the first; `accumulate` and biases are not for it.
  bool swiglu;
  // f32 activations throughout; slow. Otherwise they are rounded to bf16 (algorithm.md, Numerics).
  bool exact;
  const DeviceGemm* gemm;  // or null
  void* workspace;         // cuda::linear_workspace_bytes(params), aligned to 256 bytes
};

namespace cuda {

// For any number of rows up to params.num_rows. The workspace must be zero before its first use;
// calls on one stream may share it, whatever their parameters.
[[nodiscard]] int64_t linear_workspace_bytes(const DeviceLinearParams& params);
// Enqueues on `stream`; may be captured in a graph.
void linear(const DeviceLinearParams& params, CUstream_st* stream);

// Row r of `y` [num_rows, in_features] becomes row ids[r] of the weight, at its value.
struct EmbeddingParams {
  int64_t num_rows;
  const int32_t* ids;  // [num_rows], each below weight.out_features
  DeviceWeight weight;
  float* y;          // row stride y_stride
  int64_t y_stride;  // elements
};
void embedding(const EmbeddingParams& params, CUstream_st* stream);

}  // namespace cuda

}  // namespace lychee::linear
