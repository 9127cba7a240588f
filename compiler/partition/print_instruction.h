// Shared by the printers of partition and schedule.
#pragma once

#include <string>

#include "compiler/partition/partition.h"

namespace dsc::local {

// "product block[0].attn.q: b3 b4 -> b7", "all_gather gather block[0]: b1 -> b9, b2 -> b10 (zero 3 over data: ...)".
// Inputs that wait for a gathered buffer are named by their parameter.
std::string print(const Instruction& instruction, const std::vector<Buffer>& buffers, const std::vector<std::string>* parameter_paths);
std::string print(const Buffer& buffer, std::size_t index);
const char* name_of(Engine engine);

}  // namespace dsc::local
