// Included before ANTLR 4.9's headers where Clang compiles them: the const members of its Vocabulary get the initialisers
// that Clang asks for and GCC does without.
#pragma once

#include "antlr4-common.h"

#define _literalNames _literalNames {}
#define _symbolicNames _symbolicNames {}
#define _displayNames _displayNames {}
#include "Vocabulary.h"
#undef _literalNames
#undef _symbolicNames
#undef _displayNames
