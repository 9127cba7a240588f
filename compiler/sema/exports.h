// The model's `export huggingface` expanded: one entry per stored tensor, `{i}` put in, config values computed and nested
// keys joined with dots (support/export_map.h). Checked: each parameter is stored exactly once, so it can be read back.
#pragma once

#include "compiler/sema/program.h"
#include "compiler/support/export_map.h"

namespace dsc::sema {

ExportMap expand_exports(const Program& program);

}  // namespace dsc::sema
