#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kernels/linear/device_weight.h"

struct CUstream_st;

namespace lychee::linear {

// Up to this many rows the CUDA backend reads weights once, straight from their device form, and
// what a row computes does not depend on how many rows go with it. Beyond, weights are widened to
// bf16 a panel at a time for cuBLASLt; without it rows go sixteen at a time.
constexpr int64_t kMaxDeviceDecodeRows = 16;

// Why no DeviceGemm can be made here: the library that cannot be loaded, and what to do about it.
// Empty when it can be loaded.
[[nodiscard]] std::string missing_gemm_library();

// cuBLASLt, loaded when this is made, so that a program starts on machines that lack it. One serves
// a thread's calls on any stream of the current device.
class DeviceGemm {
 public:
  // Throws Error(kUnsupported) with missing_gemm_library() when the library cannot be loaded.
  DeviceGemm();
  ~DeviceGemm();
  DeviceGemm(const DeviceGemm&) = delete;
  DeviceGemm& operator=(const DeviceGemm&) = delete;

  // y = x · weightᵀ or, with `adjoint`, x (+)= y · weight: of the two, the one on the left is
  // written. All in device memory, x and y as the direction has them:
  //   forward: `in` is x [num_rows, in_features], `out` is y [num_rows, out_features]
  //   adjoint: `in` is y [num_rows, out_features], `out` is x [num_rows, in_features]
  struct Params {
    int64_t num_rows, out_features, in_features;
    DType dtype = DType::kBF16;  // of `in` and the weight: kBF16, or kF32 with f32 products
    const void* in;
    const void* weight;  // [out_features, in_features], row stride weight_stride
    int64_t in_stride, weight_stride;
    const float* bias;              // [out_features] or null; forward alone
    DType out_dtype = DType::kF32;  // or kBF16, rounded; without a bias
    void* out;
    int64_t out_stride;
    bool accumulate;
    bool adjoint = false;
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

// RMSNorm, rounded to bf16, of the rows that a layer multiplies.
struct DeviceLinearNorm {
  const float* weight;  // [in_features], aligned to 16 bytes; null: rows are taken as they are
  float eps;
  // [num_rows, in_features], aligned to 16 bytes: scratch for calls of too many rows to normalise
  // them in the launch that multiplies.
  bf16* rows;
};

// y[r, o] (+)= sum_i x[r, i] · W[o, i] + bias[o], for each target. All pointers are device memory.
struct DeviceLinearParams {
  int64_t num_rows;
  int64_t in_features;    // of every target
  const float* x;         // [num_rows, in_features], row stride x_stride; or null
  const bf16* rounded_x;  // the same, else: rounded where they were made
  // Elements. Copying is fast where it, in_features and the pointer are multiples of 16 bytes.
  int64_t x_stride;
  // Of x, where those are multiples of 16 bytes and in_features is one of 8.
  DeviceLinearNorm norm;
  std::span<const DeviceLinearTarget> targets;
  bool accumulate;  // adds to y (the residual) instead of overwriting it
  // Takes exactly two targets of one shape, gate and up, and writes silu(gate) · up to the y of the
  // first; without `accumulate`. Of one format and without biases decoding takes a launch, else
  // one for each format and one for their product.
  bool swiglu;
  // Null, or where SwiGLU leaves its results, rounded, instead of in the y of the first:
  // [num_rows, out_features].
  bf16* rounded_swiglu;
  // f32 activations throughout; slow. Otherwise they are rounded to bf16 (algorithm.md, Numerics).
  // Nothing is given rounded, left rounded or normalised with it, nor with a weight of f32, nor for
  // more rows than kMaxDeviceDecodeRows with `gemm`.
  bool exact;
  const DeviceGemm* gemm;  // or null
  void* workspace;         // cuda::linear_workspace_bytes(params), aligned to 256 bytes
};

// `linear` for a prompt whose activations are rounded where they are made: x is bf16, and so is
// what SwiGLU yields. For more rows than kMaxDeviceDecodeRows and weights other than f32.
struct PromptLinearParams {
  int64_t num_rows;
  int64_t in_features;  // of every target, a multiple of 8
  const bf16* x;        // [num_rows, in_features], row stride x_stride; aligned to 16 bytes
  int64_t x_stride;     // elements, a multiple of 8
  // Neighbours whose weights, biases and results follow one another are multiplied as one.
  std::span<const DeviceLinearTarget> targets;
  bool accumulate;
  // Null, or [num_rows, out_features], aligned to 16 bytes: silu(gate) · up, each of them rounded
  // to bf16, of exactly two targets of one shape, out_features a multiple of 8, without biases.
  // Their `y` is not used then.
  bf16* swiglu;
  const DeviceGemm* gemm;
  void* workspace;  // cuda::prompt_linear_workspace_bytes(params), aligned to 256 bytes
};

namespace cuda {

// For any number of rows up to params.num_rows. The workspace must be zero before its first use;
// calls on one stream may share it, whatever their parameters.
// As much as rows in f32 need serves rounded ones too, with or without a norm.
[[nodiscard]] int64_t linear_workspace_bytes(const DeviceLinearParams& params);
// Enqueues on `stream`; may be captured in a graph.
void linear(const DeviceLinearParams& params, CUstream_st* stream);

// May share its workspace with linear(), whose needs for as many rows it does not exceed.
[[nodiscard]] int64_t prompt_linear_workspace_bytes(const PromptLinearParams& params);
void prompt_linear(const PromptLinearParams& params, CUstream_st* stream);

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
