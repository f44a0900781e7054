#include "kernels/attention/cuda/blended_attention/launch.cuh"

namespace lychee::attention::cuda {

template struct BlendedLaunch<WarpgroupBlocks<128>>;

}  // namespace lychee::attention::cuda
