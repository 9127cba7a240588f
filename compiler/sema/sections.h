// The sections `data` and `train` in, plain values out, every entry checked.
#pragma once

#include <optional>
#include <string>

#include "compiler/sema/values.h"
#include "compiler/support/training.h"
#include "compiler/syntax/ast.h"

namespace dsc::sema {

struct Sections {
  DataSpec data;
  TrainSpec train;
  const syntax::Expr* model = nullptr;  // the call of `train.model`
  SourceRange sequence_source, batch_source;
  bool decay_products = false;          // weight decay on operands of products alone
  std::int64_t batch_for_check = 1, sequence_for_check = 1;  // as given, or 1 where there was a mistake
};

// Paths from the main file are relative to `folder`; those of `--set` are not. Nothing where the file has no sections or
// lacks one (reported).
std::optional<Sections> read_sections(const syntax::File& file, const std::string& folder, const ValueReader& reader);

}  // namespace dsc::sema
