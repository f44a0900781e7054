#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatBf16>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatBf16>(int, int, int, int);

}  // namespace lychee::linear::cuda
