#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatQ6_K>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatQ6_K>(int, int, int, int);

}  // namespace lychee::linear::cuda
