#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/check.h"
#include "kernels/linear/device_linear.h"

namespace lychee::linear {
namespace {

constexpr const char* kLibrary = "libcublasLt.so.13";
constexpr size_t kMaxPlans = 2048;

struct Unload {
  void operator()(void* library) const { ::dlclose(library); }
};

// Why the last dlopen failed.
std::string explain_missing() {
  const char* reason = ::dlerror();
  return std::string("cannot load cuBLASLt (") + (reason != nullptr ? reason : kLibrary) +
         "): install CUDA 13's libraries, or put the folder that holds " + kLibrary +
         " on LD_LIBRARY_PATH";
}

void check(cublasStatus_t status, const char* call) {
  require(status == CUBLAS_STATUS_SUCCESS, ErrorCode::kCuda, "cuBLASLt: ", call,
          " failed with status ", static_cast<int>(status));
}

// All that a product's description and algorithm depend on, but for the bias's place. Choosing
// takes longer than a small product.
struct GemmKey {
  int64_t num_rows, out_features, in_features, in_stride, weight_stride, out_stride;
  DType dtype, out_dtype;
  bool bias, accumulate, adjoint;
  uint32_t in_alignment, weight_alignment, out_alignment;
  auto operator<=>(const GemmKey&) const = default;
};

// The largest power of two that divides an address, up to what cuBLASLt makes use of.
uint32_t alignment_of(const void* pointer) {
  constexpr uintptr_t kMost = 256;
  const auto address = reinterpret_cast<uintptr_t>(pointer) | kMost;
  return static_cast<uint32_t>(address & (~address + 1));
}

}  // namespace

// The functions are looked up by name: linking the library would keep the program from starting
// where it is not installed.
struct DeviceGemm::Library {
  std::unique_ptr<void, Unload> file;
  cublasLtHandle_t handle = nullptr;
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) find;
  decltype(&cublasLtMatmulDescCreate) create_desc;
  decltype(&cublasLtMatmulDescDestroy) destroy_desc;
  decltype(&cublasLtMatmulDescSetAttribute) set_desc;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;

  template <typename Handle, typename Destroy>
  using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy>;
  using Layout = Owned<cublasLtMatrixLayout_t, decltype(destroy_layout)>;
  using Desc = Owned<cublasLtMatmulDesc_t, decltype(destroy_desc)>;
  using Preference = Owned<cublasLtMatmulPreference_t, decltype(destroy_preference)>;
  struct Plan {
    Layout a, b, c;
    Desc desc;
    cublasLtMatmulAlgo_t algorithm;
  };

  Library();
  ~Library() { destroy(handle); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  [[nodiscard]] Layout layout(cudaDataType_t type, int64_t rows, int64_t columns,
                              int64_t stride) const;
  // The plan of a product, made when it is first asked for, with this call's bias.
  [[nodiscard]] const Plan& plan_for(const Params& p);

 private:
  // Which way the weight goes, f32 sums, and whether there is a bias.
  [[nodiscard]] Desc describe(const Params& p) const;
  // That kWorkspaceBytes of scratch are at hand, and how the operands are aligned.
  [[nodiscard]] Preference preference(const Params& p) const;
  [[nodiscard]] Plan make_plan(const Params& p) const;

  template <typename Function>
  void find_symbol(Function& function, const char* name) {
    function = reinterpret_cast<Function>(::dlsym(file.get(), name));
    require(function != nullptr, ErrorCode::kUnsupported, kLibrary, " lacks ", name);
  }

  std::map<GemmKey, Plan> plans_;
};

DeviceGemm::Library::Library() : file(::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
  if (file == nullptr) {
    fail(ErrorCode::kUnsupported, explain_missing());
  }
  find_symbol(create, "cublasLtCreate");
  find_symbol(destroy, "cublasLtDestroy");
  find_symbol(matmul, "cublasLtMatmul");
  find_symbol(find, "cublasLtMatmulAlgoGetHeuristic");
  find_symbol(create_desc, "cublasLtMatmulDescCreate");
  find_symbol(destroy_desc, "cublasLtMatmulDescDestroy");
  find_symbol(set_desc, "cublasLtMatmulDescSetAttribute");
  find_symbol(create_layout, "cublasLtMatrixLayoutCreate");
  find_symbol(destroy_layout, "cublasLtMatrixLayoutDestroy");
  find_symbol(create_preference, "cublasLtMatmulPreferenceCreate");
  find_symbol(destroy_preference, "cublasLtMatmulPreferenceDestroy");
  find_symbol(set_preference, "cublasLtMatmulPreferenceSetAttribute");
  check(create(&handle), "cublasLtCreate");
}

DeviceGemm::Library::Layout DeviceGemm::Library::layout(cudaDataType_t type, int64_t rows,
                                                        int64_t columns, int64_t stride) const {
  cublasLtMatrixLayout_t made = nullptr;
  check(create_layout(&made, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns),
                      stride),
        "cublasLtMatrixLayoutCreate");
  return {made, destroy_layout};
}

DeviceGemm::Library::Desc DeviceGemm::Library::describe(const Params& p) const {
  cublasLtMatmulDesc_t made = nullptr;
  check(create_desc(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Desc desc(made, destroy_desc);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check(set_desc(desc.get(), attribute, &value, sizeof(value)), "setting an attribute");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, p.adjoint ? CUBLAS_OP_N : CUBLAS_OP_T);
  if (p.bias != nullptr) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  }
  return desc;
}

DeviceGemm::Library::Preference DeviceGemm::Library::preference(const Params& p) const {
  cublasLtMatmulPreference_t made = nullptr;
  check(create_preference(&made), "cublasLtMatmulPreferenceCreate");
  Preference preference(made, destroy_preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(set_preference(preference.get(), attribute, &value, sizeof(value)),
          "setting a preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<size_t>(kWorkspaceBytes));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(p.weight));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(p.in));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(p.out));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(p.out));
  return preference;
}

DeviceGemm::Library::Plan DeviceGemm::Library::make_plan(const Params& p) const {
  const cudaDataType_t type = p.dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
  const int64_t in_width = p.adjoint ? p.out_features : p.in_features;
  const int64_t out_width = p.adjoint ? p.in_features : p.out_features;
  // cuBLAS counts columns first: its A is the weight, transposed on the way forward, its B is what
  // comes in, its C what goes out.
  Plan plan{layout(type, p.in_features, p.out_features, p.weight_stride),
            layout(type, in_width, p.num_rows, p.in_stride),
            layout(p.out_dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF, out_width, p.num_rows,
                   p.out_stride),
            describe(p),
            {}};
  cublasLtMatmulHeuristicResult_t result;
  int found = 0;
  check(find(handle, plan.desc.get(), plan.a.get(), plan.b.get(), plan.c.get(), plan.c.get(),
             preference(p).get(), 1, &result, &found),
        "cublasLtMatmulAlgoGetHeuristic");
  require(found == 1, ErrorCode::kUnsupported, "cuBLASLt has no algorithm for ", p.num_rows, " x ",
          p.out_features, " x ", p.in_features);
  plan.algorithm = result.algo;
  return plan;
}

const DeviceGemm::Library::Plan& DeviceGemm::Library::plan_for(const Params& p) {
  const GemmKey key{p.num_rows,
                    p.out_features,
                    p.in_features,
                    p.in_stride,
                    p.weight_stride,
                    p.out_stride,
                    p.dtype,
                    p.out_dtype,
                    p.bias != nullptr,
                    p.accumulate,
                    p.adjoint,
                    alignment_of(p.in),
                    alignment_of(p.weight),
                    alignment_of(p.out)};
  auto plan = plans_.find(key);
  if (plan == plans_.end()) {
    if (plans_.size() == kMaxPlans) {  // training meets a new number of rows with every sample
      plans_.clear();
    }
    plan = plans_.emplace(key, make_plan(p)).first;
  } else if (p.bias != nullptr) {
    check(set_desc(plan->second.desc.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias,
                   sizeof(p.bias)),
          "setting the bias");
  }
  return plan->second;
}

std::string missing_gemm_library() {
  // Kept in memory, since whoever asks is about to use it and mapping it takes long.
  const std::unique_ptr<void, Unload> file(
      ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE));
  return file == nullptr ? explain_missing() : "";
}

DeviceGemm::DeviceGemm() : library_(std::make_unique<Library>()) {}
DeviceGemm::~DeviceGemm() = default;

void DeviceGemm::multiply(const Params& p, CUstream_st* stream) const {
  Library& lib = *library_;
  const Library::Plan& plan = lib.plan_for(p);
  const float one = 1;
  const float beta = p.accumulate ? 1.0F : 0.0F;
  check(lib.matmul(lib.handle, plan.desc.get(), &one, p.weight, plan.a.get(), p.in, plan.b.get(),
                   &beta, p.out, plan.c.get(), p.out, plan.c.get(), &plan.algorithm, p.workspace,
                   static_cast<size_t>(kWorkspaceBytes), stream),
        "cublasLtMatmul");
}

}  // namespace lychee::linear
