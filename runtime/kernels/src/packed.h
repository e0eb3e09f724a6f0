// Weights in the layout of the kernels that run here, made once in a process for all its sessions.
#pragma once

#include <memory>
#include <vector>

#include "kernels.h"

namespace hazgate {

// One matrix of int8 with a scale per column, as a graph stores it.
struct StoredMatrix {
  const int8_t* weights;  // [depth, columns]
  const float* scales;    // [columns]
  int depth, columns;
};

// Matrices that one activation is multiplied with, side by side; `bias` is null or has a value for
// each of their columns. Equal contents give the same object while anybody holds it.
std::shared_ptr<const PackedMatrix> Pack(const Kernels& kernels,
                                         const std::vector<StoredMatrix>& matrices,
                                         const float* bias, Activation activation);

// How many of them are held in this process.
int64_t PackedMatrices();

}  // namespace hazgate
