#include "kernels/attention/cuda/blended_attention/launch.cuh"

namespace lychee::attention::cuda {

template struct BlendedLaunch<WarpgroupBlocks<64>>;

}  // namespace lychee::attention::cuda
