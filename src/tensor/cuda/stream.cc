#include "tensor/stream.h"

#include <cuda_runtime_api.h>

#include <memory>
#include <utility>

#include "tensor/cuda/check.h"

namespace lychee {
namespace {

struct GraphDeleter {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using RecordedGraph = std::unique_ptr<CUgraph_st, GraphDeleter>;

RecordedGraph record(cudaStream_t stream, const std::function<void()>& enqueue) {
  cuda_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    enqueue();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    cudaGetLastError();  // the capture's end repeats what was thrown
    const RecordedGraph discarded(graph);
    throw;
  }
  cuda_check(cudaStreamEndCapture(stream, &graph));
  return RecordedGraph(graph);
}

}  // namespace

Stream::Stream() {
  cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

Stream::~Stream() {
  if (stream_ != nullptr) {
    cudaStreamDestroy(stream_);
  }
}

Stream::Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}

void Stream::synchronize() const {
  cuda_check(cudaStreamSynchronize(stream_));
}

void Stream::wait(const Event& event) const {
  cuda_check(cudaStreamWaitEvent(stream_, event.get(), 0));
}

Event::Event() {
  cuda_check(cudaEventCreate(&event_));
}

Event::~Event() {
  if (event_ != nullptr) {
    cudaEventDestroy(event_);
  }
}

Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(event_, other.event_);
  return *this;
}

void Event::record(CUstream_st* stream) const {
  cuda_check(cudaEventRecord(event_, stream));
}

void Event::synchronize() const {
  cuda_check(cudaEventSynchronize(event_));
}

double Event::microseconds_since(const Event& start) const {
  float milliseconds = 0;
  cuda_check(cudaEventElapsedTime(&milliseconds, start.event_, event_));
  return 1000.0 * static_cast<double>(milliseconds);
}

Graph::~Graph() {
  if (exec_ != nullptr) {
    cudaGraphExecDestroy(exec_);
  }
}

Graph::Graph(Graph&& other) noexcept : exec_(std::exchange(other.exec_, nullptr)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(exec_, other.exec_);
  return *this;
}

void Graph::capture(CUstream_st* stream, const std::function<void()>& enqueue) {
  const RecordedGraph graph = record(stream, enqueue);
  if (exec_ != nullptr) {
    cudaGraphExecUpdateResultInfo result;
    if (cudaGraphExecUpdate(exec_, graph.get(), &result) == cudaSuccess) {
      return;
    }
    cudaGetLastError();  // another topology: not an error, but it would be reported again
  }
  cudaGraphExec_t exec = nullptr;
  cuda_check(cudaGraphInstantiate(&exec, graph.get(), 0));
  if (exec_ != nullptr) {
    cudaGraphExecDestroy(exec_);
  }
  exec_ = exec;
}

void Graph::launch(CUstream_st* stream) const {
  cuda_check(cudaGraphLaunch(exec_, stream));
}

}  // namespace lychee
