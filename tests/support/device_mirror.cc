#include "support/device_mirror.h"

#include <algorithm>

namespace lychee::test {

void* DeviceMirror::scratch(int64_t bytes, int value) {
  buffers_.emplace_back(std::max<int64_t>(bytes, 1));
  fill_on_device(buffers_.back().data(), value, buffers_.back().bytes(), stream_.get());
  return buffers_.back().data();
}

void* DeviceMirror::copy(const void* data, int64_t bytes) {
  if (data == nullptr) {
    return nullptr;
  }
  void* device = scratch(bytes);
  copy_to_device(device, data, bytes, stream_.get());
  return device;
}

void DeviceMirror::finish() {
  for (const Output& output : outputs_) {
    copy_to_host(output.host, output.device, output.bytes, stream_.get());
  }
  stream_.synchronize();
}

}  // namespace lychee::test
