#include "tensor/device.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "lychee/error.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee {
namespace {

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(CudaDevice, EitherIsAvailableOrSaysWhatIsMissing) {
  const CudaDevice device = query_cuda();
  EXPECT_EQ(device.available, device.missing.empty()) << device.missing;
  EXPECT_EQ(device.available, cuda_available());
  if (device.available) {
    EXPECT_NO_THROW(require_cuda());
    EXPECT_FALSE(device.name.empty());
    EXPECT_GE(device.compute_capability, 80);
    EXPECT_GT(device.num_sms, 0);
    EXPECT_GT(device.free_bytes, 0);
    EXPECT_LE(device.free_bytes, device.memory_bytes);
  } else {
    EXPECT_NE(device.missing.find("--device cpu"), std::string::npos) << device.missing;
    EXPECT_EQ(code_of(require_cuda), ErrorCode::kUnsupported);
  }
}

// Each fails with an Error, never in a destructor or a crash, where there is no device.
TEST(CudaDevice, HandlesThrowWithoutDevice) {
  if (cuda_available()) {
    EXPECT_EQ(code_of([] { DeviceBuffer(int64_t{1} << 50); }), ErrorCode::kOutOfMemory);
    EXPECT_NO_THROW(DeviceBuffer(256));  // the failure leaves the device usable
    return;
  }
  EXPECT_THROW(DeviceBuffer(256), Error);
  EXPECT_THROW(PinnedBuffer(256), Error);
  EXPECT_THROW(Stream(), Error);
  EXPECT_THROW(Event(), Error);
}

TEST(CudaDevice, EmptyHandlesOwnNothing) {
  DeviceBuffer buffer;
  buffer = DeviceBuffer(std::move(buffer));
  EXPECT_EQ(buffer.data(), nullptr);
  PinnedBuffer pinned;
  pinned = PinnedBuffer(std::move(pinned));
  EXPECT_EQ(pinned.bytes(), 0);
  Graph graph;
  graph = Graph(std::move(graph));
  EXPECT_TRUE(graph.empty());
}

// What needs a GPU to run at all; the table is empty where there is none.
class OnDevice : public testing::TestWithParam<int> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OnDevice);
INSTANTIATE_TEST_SUITE_P(Cuda, OnDevice,
                         testing::ValuesIn(cuda_available() ? std::vector<int>{0}
                                                            : std::vector<int>{}));

TEST_P(OnDevice, BytesGoThereAndBack) {
  const Stream stream;
  const DeviceBuffer first(1000);
  const DeviceBuffer second(1000);
  std::vector<uint8_t> sent(1000);
  std::iota(sent.begin(), sent.end(), uint8_t{0});
  std::vector<uint8_t> received(1000);
  fill_on_device(second.data(), 0xff, 1000, stream.get());
  copy_to_device(first.data(), sent.data(), 1000, stream.get());
  copy_on_device(second.data() + 1, first.data(), 999, stream.get());
  copy_to_host(received.data(), second.data(), 1000, stream.get());
  stream.synchronize();
  EXPECT_EQ(received[0], 0xff);
  sent.pop_back();
  received.erase(received.begin());
  EXPECT_EQ(received, sent);
}

TEST_P(OnDevice, GraphReplaysUpdatesAndSurvivesThrow) {
  const Stream stream;
  const DeviceBuffer memory(64);
  std::array<uint8_t, 64> host{};
  const auto read_first = [&] {
    copy_to_host(host.data(), memory.data(), 64, stream.get());
    stream.synchronize();
    return int{host[0]};
  };
  fill_on_device(memory.data(), 1, 64, stream.get());
  Graph graph;
  graph.capture(stream.get(), [&] { fill_on_device(memory.data(), 2, 64, stream.get()); });
  EXPECT_EQ(read_first(), 1);  // recorded, not run
  graph.launch(stream.get());
  EXPECT_EQ(read_first(), 2);
  // The same node with another value, then another topology.
  graph.capture(stream.get(), [&] { fill_on_device(memory.data(), 3, 64, stream.get()); });
  graph.launch(stream.get());
  EXPECT_EQ(read_first(), 3);
  const auto two_nodes = [&] {
    fill_on_device(memory.data(), 4, 64, stream.get());
    fill_on_device(memory.data(), 5, 32, stream.get());
  };
  graph.capture(stream.get(), two_nodes);
  EXPECT_THROW(graph.capture(stream.get(), [] { throw std::runtime_error("planted"); }),
               std::runtime_error);
  graph.launch(stream.get());
  EXPECT_EQ(read_first(), 5);
  EXPECT_EQ(int{host[63]}, 4);
}

TEST_P(OnDevice, EventsOrderStreamsAndTakeTime) {
  const Stream first;
  const Stream second;
  const Event start;
  const Event end;
  const DeviceBuffer memory(1 << 20);
  start.record(first.get());
  fill_on_device(memory.data(), 7, 1 << 20, first.get());
  end.record(first.get());
  second.wait(end);
  PinnedBuffer host(1 << 20);
  copy_to_host(host.data(), memory.data(), 1 << 20, second.get());
  second.synchronize();
  EXPECT_EQ(host.data()[(1 << 20) - 1], std::byte{7});
  end.synchronize();
  EXPECT_GT(end.microseconds_since(start), 0);
}

}  // namespace
}  // namespace lychee
