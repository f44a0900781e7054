#pragma once

#include <cassert>

// Holds in the cuda-debug preset alone, and costs nothing elsewhere. A macro so that the condition
// is neither evaluated nor named in other builds.
#ifdef LYCHEE_DEVICE_ASSERTS
#define LYCHEE_DEVICE_ASSERT(condition) assert(condition)
#else
#define LYCHEE_DEVICE_ASSERT(condition) static_cast<void>(0)
#endif
