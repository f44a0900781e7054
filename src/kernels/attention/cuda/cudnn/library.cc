#include "kernels/attention/cuda/cudnn/library.h"

#include <dlfcn.h>

#include <array>
#include <utility>

#include "base/check.h"

namespace lychee::attention::cudnn {

namespace {

constexpr const char* kLibrary = "libcudnn.so.9";

}  // namespace

void Library::Unload::operator()(void* library) const {
  ::dlclose(library);
}

template <typename Function>
void Library::find(Function& function, const char* name) {
  function = reinterpret_cast<Function>(::dlsym(file_.get(), name));
  require(function != nullptr, ErrorCode::kUnsupported, kLibrary, " lacks ", name);
}

Library::Library() : file_(::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
  require(file_ != nullptr, ErrorCode::kUnsupported, "cannot load ", kLibrary,
          ": install cuDNN 9, or put the folder that holds it on LD_LIBRARY_PATH");
  find(create_handle, "cudnnCreate");
  find(destroy_handle, "cudnnDestroy");
  find(set_stream, "cudnnSetStream");
  find(create, "cudnnBackendCreateDescriptor");
  find(destroy, "cudnnBackendDestroyDescriptor");
  find(set, "cudnnBackendSetAttribute");
  find(get, "cudnnBackendGetAttribute");
  find(finalize, "cudnnBackendFinalize");
  find(execute, "cudnnBackendExecute");
  find(last_error_, "cudnnGetLastErrorString");
}

void Library::check(cudnnStatus_t status, const char* call) const {
  if (status != CUDNN_STATUS_SUCCESS) {
    std::array<char, 512> words{};
    last_error_(words.data(), words.size());
    fail(ErrorCode::kUnsupported, "cuDNN: ", call, " failed with status ", static_cast<int>(status),
         ": ", words.data());
  }
}

Descriptor::Descriptor(const Library& library, cudnnBackendDescriptorType_t type)
    : library_(&library) {
  library_->check(library_->create(type, &descriptor_), "creating a descriptor");
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : library_(other.library_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(library_, other.library_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) {
    library_->destroy(descriptor_);
  }
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     int64_t count, const void* values) {
  library_->check(library_->set(descriptor_, name, type, count, values), "setting an attribute");
}

void Descriptor::set(cudnnBackendAttributeName_t name, int64_t value) {
  set(name, CUDNN_TYPE_INT64, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, std::span<const int64_t> values) {
  set(name, CUDNN_TYPE_INT64, std::ssize(values), values.data());
}

void Descriptor::set(cudnnBackendAttributeName_t name, bool value) {
  set(name, CUDNN_TYPE_BOOLEAN, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
  set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnPointwiseMode_t value) {
  set(name, CUDNN_TYPE_POINTWISE_MODE, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnReduceTensorOp_t value) {
  set(name, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendHeurMode_t value) {
  set(name, CUDNN_TYPE_HEUR_MODE, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnHandle_t value) {
  set(name, CUDNN_TYPE_HANDLE, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
}

void Descriptor::set_descriptors(cudnnBackendAttributeName_t name,
                                 std::span<const cudnnBackendDescriptor_t> values) {
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(values), values.data());
}

void Descriptor::set_pointers(cudnnBackendAttributeName_t name, std::span<void* const> values) {
  set(name, CUDNN_TYPE_VOID_PTR, std::ssize(values), values.data());
}

void Descriptor::finalize() {
  library_->check(library_->finalize(descriptor_), "finalising a descriptor");
}

}  // namespace lychee::attention::cudnn
