#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatInt4G32>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatInt4G32>(int, int, int, int);

}  // namespace lychee::linear::cuda
