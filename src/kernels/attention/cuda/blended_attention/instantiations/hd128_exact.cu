#include "kernels/attention/cuda/blended_attention/launch.cuh"

namespace lychee::attention::cuda {

template struct BlendedLaunch<PortableBlocks<128, 2>>;
template struct TargetGradientsLaunch<128, 2>;

}  // namespace lychee::attention::cuda
