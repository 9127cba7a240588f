// Trouble with files, devices, plans and checkpoints as values: Result<T> holds a T or an Error. (A mistake in a .dsm
// file is a Diagnostic instead: diagnostic.h.) An Error has a stable code ("DSM0901"), what happened, and the next step.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "compiler/support/check.h"

namespace dsc {

struct Error {
  std::string code;     // one of the codes in diagnostic_codes.h
  std::string message;  // one line, in the user's terms
  std::string help;     // the next step; may be empty
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& value() { DSC_CHECK(state_.index() == 0, "value of an error: " + text()); return std::get<0>(state_); }
  const T& value() const { DSC_CHECK(state_.index() == 0, "value of an error: " + text()); return std::get<0>(state_); }
  const Error& error() const { DSC_CHECK(state_.index() == 1, "error of a value"); return std::get<1>(state_); }

 private:
  std::string text() const { return state_.index() == 1 ? std::get<1>(state_).message : std::string(); }
  std::variant<T, Error> state_;
};

// Success without a value, or an Error.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}
  explicit operator bool() const { return !error_.has_value(); }
  const Error& error() const { DSC_CHECK(error_.has_value(), "error of a success"); return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace dsc
