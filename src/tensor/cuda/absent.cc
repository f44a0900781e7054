// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "tensor/device.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee {
namespace {

constexpr const char* kMissing =
    "this build has no CUDA support; build it with -DLYCHEE_CUDA=ON or use --device cpu";

[[noreturn]] void refuse() {
  fail(ErrorCode::kUnsupported, kMissing);
}

}  // namespace

CudaDevice query_cuda() noexcept {
  CudaDevice device;
  device.missing = kMissing;
  return device;
}
void require_cuda() {
  refuse();
}

// Without CUDA none of these exists but the empty ones, which own nothing. Their destructors are
// not defaulted: that would tell clang-tidy that the classes are trivial, which they are with CUDA
// not.
DeviceBuffer::DeviceBuffer(int64_t /*bytes*/) {
  refuse();
}
DeviceBuffer::~DeviceBuffer() {}  // NOLINT(modernize-use-equals-default)
DeviceBuffer::DeviceBuffer(DeviceBuffer&& /*other*/) noexcept {}
DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& /*other*/) noexcept {
  return *this;
}
PinnedBuffer::PinnedBuffer(int64_t /*bytes*/) {
  refuse();
}
PinnedBuffer::~PinnedBuffer() {}  // NOLINT(modernize-use-equals-default)
PinnedBuffer::PinnedBuffer(PinnedBuffer&& /*other*/) noexcept {}
PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& /*other*/) noexcept {
  return *this;
}
void copy_to_device(void* /*dst*/, const void* /*src*/, int64_t /*bytes*/,
                    CUstream_st* /*stream*/) {
  refuse();
}
void copy_to_host(void* /*dst*/, const void* /*src*/, int64_t /*bytes*/, CUstream_st* /*stream*/) {
  refuse();
}
void copy_on_device(void* /*dst*/, const void* /*src*/, int64_t /*bytes*/,
                    CUstream_st* /*stream*/) {
  refuse();
}
void fill_on_device(void* /*dst*/, int /*value*/, int64_t /*bytes*/, CUstream_st* /*stream*/) {
  refuse();
}

Stream::Stream() {
  refuse();
}
Stream::~Stream() {}  // NOLINT(modernize-use-equals-default)
Stream::Stream(Stream&& /*other*/) noexcept {}
Stream& Stream::operator=(Stream&& /*other*/) noexcept {
  return *this;
}
void Stream::synchronize() const {
  refuse();
}
void Stream::wait(const Event& /*event*/) const {
  refuse();
}
Event::Event() {
  refuse();
}
Event::~Event() {}  // NOLINT(modernize-use-equals-default)
Event::Event(Event&& /*other*/) noexcept {}
Event& Event::operator=(Event&& /*other*/) noexcept {
  return *this;
}
void Event::record(CUstream_st* /*stream*/) const {
  refuse();
}
void Event::synchronize() const {
  refuse();
}
double Event::microseconds_since(const Event& /*start*/) const {
  refuse();
}
Graph::~Graph() {}  // NOLINT(modernize-use-equals-default)
Graph::Graph(Graph&& /*other*/) noexcept {}
Graph& Graph::operator=(Graph&& /*other*/) noexcept {
  return *this;
}
void Graph::capture(CUstream_st* /*stream*/, const std::function<void()>& /*enqueue*/) {
  refuse();
}
void Graph::launch(CUstream_st* /*stream*/) const {
  refuse();
}

}  // namespace lychee
