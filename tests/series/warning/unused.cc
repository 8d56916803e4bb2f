// A warning and nothing else: that it fails the build is a test (cmake/Series.cmake).
namespace holdfast {

int nothing() {
  int unused = 0;
  return 1;
}

}  // namespace holdfast
