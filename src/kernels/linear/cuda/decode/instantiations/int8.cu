#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatInt8>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatInt8>(int, int, int, int);

}  // namespace lychee::linear::cuda
