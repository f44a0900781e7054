#pragma once

#include <functional>

struct CUevent_st;
struct CUgraphExec_st;
struct CUstream_st;  // keeps CUDA headers out of every file that only passes streams on

namespace lychee {

class Event;

// A queue of device work, run in order; different streams run side by side. Move-only.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] CUstream_st* get() const { return stream_; }
  // Blocks until all that was enqueued is done; throws the error that it met, if any.
  void synchronize() const;
  // Makes what is enqueued from now on wait for `event`; the host does not.
  void wait(const Event& event) const;

 private:
  CUstream_st* stream_ = nullptr;
};

// A point in a stream, with a time stamp. Move-only.
class Event {
 public:
  Event();
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  [[nodiscard]] CUevent_st* get() const { return event_; }
  void record(CUstream_st* stream) const;
  void synchronize() const;
  // Microseconds from `start` to this; both must have been reached.
  [[nodiscard]] double microseconds_since(const Event& start) const;

 private:
  CUevent_st* event_ = nullptr;
};

// Device work recorded once and launched many times with one call. Move-only.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Records what `enqueue` puts on `stream`, without running it, and gets it ready for launch. The
  // graph that was there before is updated in place where only parameters differ (cheap), and
  // replaced otherwise. `enqueue` must neither allocate nor synchronise; what it throws leaves the
  // stream usable and the former graph in place.
  void capture(CUstream_st* stream, const std::function<void()>& enqueue);
  // Enqueues the recorded work.
  void launch(CUstream_st* stream) const;
  [[nodiscard]] bool empty() const { return exec_ == nullptr; }

 private:
  CUgraphExec_st* exec_ = nullptr;
};

}  // namespace lychee
