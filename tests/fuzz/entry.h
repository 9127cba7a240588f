// What each folder of tests/fuzz defines: one input, whatever its bytes, through a reader and all that trusts the reader.
// libFuzzer calls it (libfuzzer.cpp), and so do the ordinary tests, with seeds and mutations of them (short_form.h).
#pragma once

#include <string_view>

namespace dsc::fuzz {

// Whether the reader accepted the bytes. Something that must hold and does not is a failed DSC_CHECK, which aborts.
bool accepts(std::string_view bytes);

}  // namespace dsc::fuzz
