// Weights in the layout of the chosen kernels, packed once per process for all its sessions.
#pragma once

#include <memory>
#include <vector>

#include "kernels.h"

namespace hazgate {

// An int8 matrix with a scale per column, as a graph stores it.
struct StoredMatrix {
  const int8_t* weights;  // [depth, columns]
  const float* scales;    // [columns]
  int depth, columns;
};

// Pack matrices that share an activation, side by side. `bias` is null or has one value per column
// of all of them. Equal contents give the same object while any caller holds it.
std::shared_ptr<const PackedMatrix> Pack(const Kernels& kernels,
                                         const std::vector<StoredMatrix>& matrices,
                                         const float* bias, Activation activation);

// Return the number of packed matrices held in this process.
int64_t PackedMatrices();

}  // namespace hazgate
