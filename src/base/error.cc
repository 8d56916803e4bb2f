#include <holdfast/error.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace holdfast {

struct Error::Text {
  std::string object;
  std::string reason;
  std::string remedy;
};

void Error::TextDeleter::operator()(Text* text) const noexcept { delete text; }

Error::Error(int code, std::string object, std::string reason, std::string remedy)
    : code_(code), text_(new Text{std::move(object), std::move(reason), std::move(remedy)}) {}

Error::Error(const Error& other) : code_(other.code_), text_(new Text(*other.text_)) {}

Error& Error::operator=(const Error& other) {
  if (this != &other) *this = Error(other);
  return *this;
}

const std::string& Error::object() const noexcept { return text_->object; }
const std::string& Error::reason() const noexcept { return text_->reason; }
const std::string& Error::remedy() const noexcept { return text_->remedy; }

std::string Error::message() const {
  std::string line = text_->object;
  if (!line.empty()) line += ": ";
  line += text_->reason.empty() ? std::string(strerrordesc_np(code_)) : text_->reason;
  if (!text_->remedy.empty()) {
    line += "; ";
    line += text_->remedy;
  }
  return line;
}

Error Error::about(std::string object) && {
  text_->object = std::move(object);
  return std::move(*this);
}

namespace detail {

void bad_result_access(const Error& error) {
  const std::string line = error.message();
  static_cast<void>(std::fprintf(stderr, "holdfast: value() of a failed result: %s\n", line.c_str()));
  std::abort();
}

}  // namespace detail
}  // namespace holdfast
