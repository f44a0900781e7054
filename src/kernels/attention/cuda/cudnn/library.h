#pragma once

#include <cudnn.h>

#include <cstdint>
#include <memory>
#include <span>

namespace lychee::attention::cudnn {

// The functions of cuDNN's graph interface, looked up by name: linking the library would keep the
// program from starting where it is not installed.
class Library {
 public:
  // Throws Error(kUnsupported) when it cannot be loaded.
  Library();

  decltype(&cudnnCreate) create_handle;
  decltype(&cudnnDestroy) destroy_handle;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnBackendCreateDescriptor) create;
  decltype(&cudnnBackendDestroyDescriptor) destroy;
  decltype(&cudnnBackendSetAttribute) set;
  decltype(&cudnnBackendGetAttribute) get;
  decltype(&cudnnBackendFinalize) finalize;
  decltype(&cudnnBackendExecute) execute;

  // Throws Error(kUnsupported) with cuDNN's own words unless `status` is success.
  void check(cudnnStatus_t status, const char* call) const;

 private:
  struct Unload {
    void operator()(void* library) const;
  };
  template <typename Function>
  void find(Function& function, const char* name);

  std::unique_ptr<void, Unload> file_;
  decltype(&cudnnGetLastErrorString) last_error_;
};

// An object of the graph interface: attributes are set, then it is finalised. Move-only.
class Descriptor {
 public:
  // `library` must outlive it.
  Descriptor(const Library& library, cudnnBackendDescriptorType_t type);
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();

  [[nodiscard]] cudnnBackendDescriptor_t get() const { return descriptor_; }

  void set(cudnnBackendAttributeName_t name, int64_t value);
  void set(cudnnBackendAttributeName_t name, std::span<const int64_t> values);
  void set(cudnnBackendAttributeName_t name, bool value);
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value);
  void set(cudnnBackendAttributeName_t name, cudnnPointwiseMode_t value);
  void set(cudnnBackendAttributeName_t name, cudnnReduceTensorOp_t value);
  void set(cudnnBackendAttributeName_t name, cudnnBackendHeurMode_t value);
  void set(cudnnBackendAttributeName_t name, cudnnHandle_t value);
  void set(cudnnBackendAttributeName_t name, const Descriptor& value);
  void set_descriptors(cudnnBackendAttributeName_t name,
                       std::span<const cudnnBackendDescriptor_t> values);
  void set_pointers(cudnnBackendAttributeName_t name, std::span<void* const> values);
  void finalize();

 private:
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);

  const Library* library_;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace lychee::attention::cudnn
