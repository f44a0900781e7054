#include "kernels/attention/cuda/blended_attention/launch.cuh"

namespace lychee::attention::cuda {

template struct BlendedLaunch<PortableBlocks<64, 1>>;
template struct TargetGradientsLaunch<64, 1>;

}  // namespace lychee::attention::cuda
