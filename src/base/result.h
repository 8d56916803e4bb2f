// Result and Error of the public interface, and the words for passing them on.
#pragma once

#include <holdfast/error.h>

#define HF_CONCAT_INNER(a, b) a##b
#define HF_CONCAT(a, b) HF_CONCAT_INNER(a, b)

// Evaluates a Result; on failure returns its Error from the enclosing function.
#define HF_TRY(expression)                                       \
  do {                                                           \
    if (auto hf_status = (expression); !hf_status.has_value()) { \
      return std::move(hf_status).error();                       \
    }                                                            \
  } while (false)

// HF_ASSIGN(auto extents, format.map(ino, range)): the value, or return the Error.
#define HF_ASSIGN(target, expression) HF_ASSIGN_INNER(target, expression, HF_CONCAT(hf_result_, __LINE__))
#define HF_ASSIGN_INNER(target, expression, temporary)             \
  auto temporary = (expression);                                   \
  if (!temporary.has_value()) return std::move(temporary).error(); \
  target = std::move(temporary).value()
