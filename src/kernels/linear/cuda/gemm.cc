#include <cublasLt.h>
#include <dlfcn.h>

#include <array>
#include <memory>

#include "base/check.h"
#include "kernels/linear/device_linear.h"

namespace lychee::linear {
namespace {

constexpr const char* kLibrary = "libcublasLt.so.13";

struct Unload {
  void operator()(void* library) const { ::dlclose(library); }
};

void check(cublasStatus_t status, const char* call) {
  require(status == CUBLAS_STATUS_SUCCESS, ErrorCode::kCuda, "cuBLASLt: ", call,
          " failed with status ", static_cast<int>(status));
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

  Library();
  ~Library() { destroy(handle); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  [[nodiscard]] Layout layout(cudaDataType_t type, int64_t rows, int64_t columns,
                              int64_t stride) const;
  // Transposed weight, f32 sums, and the bias if there is one.
  [[nodiscard]] Desc describe(const float* bias) const;
  // That kWorkspaceBytes of scratch are at hand.
  [[nodiscard]] Preference preference() const;

 private:
  template <typename Function>
  void find_symbol(Function& function, const char* name) {
    function = reinterpret_cast<Function>(::dlsym(file.get(), name));
    require(function != nullptr, ErrorCode::kUnsupported, kLibrary, " lacks ", name);
  }
};

DeviceGemm::Library::Library() : file(::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
  require(file != nullptr, ErrorCode::kUnsupported, "cannot load ", kLibrary,
          ", which CUDA 13 brings; prefill on the GPU is slow without it");
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

DeviceGemm::Library::Desc DeviceGemm::Library::describe(const float* bias) const {
  cublasLtMatmulDesc_t made = nullptr;
  check(create_desc(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Desc desc(made, destroy_desc);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check(set_desc(desc.get(), attribute, &value, sizeof(value)), "setting an attribute");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (bias != nullptr) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  }
  return desc;
}

DeviceGemm::Library::Preference DeviceGemm::Library::preference() const {
  cublasLtMatmulPreference_t made = nullptr;
  check(create_preference(&made), "cublasLtMatmulPreferenceCreate");
  Preference preference(made, destroy_preference);
  const auto bytes = static_cast<size_t>(kWorkspaceBytes);
  check(set_preference(preference.get(), CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                       sizeof(bytes)),
        "setting the workspace");
  return preference;
}

DeviceGemm::DeviceGemm() : library_(std::make_unique<Library>()) {}
DeviceGemm::~DeviceGemm() = default;

void DeviceGemm::multiply(const Params& p, CUstream_st* stream) const {
  const Library& lib = *library_;
  // cuBLAS counts columns first: its A is the weight, transposed, its B is x, its C is y.
  const auto a = lib.layout(CUDA_R_16BF, p.in_features, p.out_features, p.weight_stride);
  const auto b = lib.layout(CUDA_R_16BF, p.in_features, p.num_rows, p.x_stride);
  const auto c = lib.layout(CUDA_R_32F, p.out_features, p.num_rows, p.y_stride);
  const auto desc = lib.describe(p.bias);
  const auto preference = lib.preference();
  cublasLtMatmulHeuristicResult_t algorithm;
  int found = 0;
  check(lib.find(lib.handle, desc.get(), a.get(), b.get(), c.get(), c.get(), preference.get(), 1,
                 &algorithm, &found),
        "cublasLtMatmulAlgoGetHeuristic");
  require(found == 1, ErrorCode::kUnsupported, "cuBLASLt has no algorithm for ", p.num_rows, " x ",
          p.out_features, " x ", p.in_features);
  const float one = 1;
  const float beta = p.accumulate ? 1.0F : 0.0F;
  check(lib.matmul(lib.handle, desc.get(), &one, p.weight, a.get(), p.x, b.get(), &beta, p.y,
                   c.get(), p.y, c.get(), &algorithm.algo, p.workspace,
                   static_cast<size_t>(kWorkspaceBytes), stream),
        "cublasLtMatmul");
}

}  // namespace lychee::linear
