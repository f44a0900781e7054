#include "kernels/attention/cuda/blended_attention/launch.cuh"

namespace lychee::attention::cuda {

template struct BlendedLaunch<PortableBlocks<64, 2>>;
template struct TargetGradientsLaunch<64, 2>;

}  // namespace lychee::attention::cuda
