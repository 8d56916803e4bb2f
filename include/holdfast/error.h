// Errors are values: Result<T> is either a T or an Error.
//
// An Error carries an errno value, the object it speaks of, the reason, and where one exists the remedy, so that a
// program can switch on code() and a person can read message(). Errors are rare: their text lives on the heap, and a
// successful Result costs one flag.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace holdfast {

class [[nodiscard]] Error {
 public:
  // `code` is an errno value and never 0. `object` names what the operation was about ("pool.img", "/kv/block-7").
  Error(int code, std::string object, std::string reason, std::string remedy = {});
  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  Error(const Error& other);
  Error& operator=(const Error& other);
  ~Error() = default;

  int code() const noexcept { return code_; }
  const std::string& object() const noexcept;
  const std::string& reason() const noexcept;
  const std::string& remedy() const noexcept;

  // "object: reason; remedy", in one line. When there is no reason, the text of the errno value.
  std::string message() const;

  // The same error, spoken of another object: how an upper layer replaces an inode number by the path it was given.
  Error about(std::string object) &&;

 private:
  struct Text;
  struct TextDeleter {
    void operator()(Text* text) const noexcept;
  };
  int code_;
  std::unique_ptr<Text, TextDeleter> text_;
};

namespace detail {
// Stops the process: value() of a Result that holds an error is a mistake of the caller.
[[noreturn]] void bad_result_access(const Error& error);
}  // namespace detail

// Either a T or an Error. Move-only when T is. Thread-safety: as T.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(true) {  // NOLINT: implicit by design
    ::new (static_cast<void*>(&storage_.value)) T(std::move(value));
  }
  Result(Error error) noexcept : ok_(false) {  // NOLINT: implicit by design
    ::new (static_cast<void*>(&storage_.error)) Error(std::move(error));
  }
  Result(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(other.ok_) { take(std::move(other)); }
  Result& operator=(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this != &other) {
      destroy();
      ok_ = other.ok_;
      take(std::move(other));
    }
    return *this;
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result() { destroy(); }

  explicit operator bool() const noexcept { return ok_; }
  bool has_value() const noexcept { return ok_; }

  // The value. Stops the process with the error's text when there is none.
  T& value() & {
    if (!ok_) detail::bad_result_access(storage_.error);
    return storage_.value;
  }
  const T& value() const& {
    if (!ok_) detail::bad_result_access(storage_.error);
    return storage_.value;
  }
  T&& value() && {
    if (!ok_) detail::bad_result_access(storage_.error);
    return std::move(storage_.value);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // Precondition: !has_value().
  const Error& error() const& noexcept { return storage_.error; }
  Error&& error() && noexcept { return std::move(storage_.error); }

 private:
  union Storage {
    Storage() noexcept {}
    ~Storage() {}
    T value;
    Error error;
  };

  void take(Result&& other) {
    if (ok_) {
      ::new (static_cast<void*>(&storage_.value)) T(std::move(other.storage_.value));
    } else {
      ::new (static_cast<void*>(&storage_.error)) Error(std::move(other.storage_.error));
    }
  }
  void destroy() noexcept {
    if (ok_) {
      storage_.value.~T();
    } else {
      storage_.error.~Error();
    }
  }

  Storage storage_;
  bool ok_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() noexcept = default;
  Result(Error error) noexcept : error_(std::make_unique<Error>(std::move(error))) {}  // NOLINT: implicit by design

  explicit operator bool() const noexcept { return error_ == nullptr; }
  bool has_value() const noexcept { return error_ == nullptr; }
  void value() const {
    if (error_) detail::bad_result_access(*error_);
  }
  const Error& error() const& noexcept { return *error_; }
  Error&& error() && noexcept { return std::move(*error_); }

 private:
  std::unique_ptr<Error> error_;
};

using Status = Result<void>;

}  // namespace holdfast
