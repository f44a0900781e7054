#include "kernels/attention/cuda/blended_attention/launch.cuh"

namespace lychee::attention::cuda {

template struct BlendedLaunch<PortableBlocks<128, 1>>;
template struct TargetGradientsLaunch<128, 1>;

}  // namespace lychee::attention::cuda
