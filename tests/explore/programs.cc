// The list of all programs.
#include "explore/file_scene.h"

namespace holdfast::explore {

const Programs& programs() {
  static const Programs all = [] {
    Programs together;
    for (const auto& some : {break_programs(), removal_programs(), sharing_programs(), write_back_programs()}) {
      together.insert(together.end(), some.begin(), some.end());
    }
    return together;
  }();
  return all;
}

}  // namespace holdfast::explore
