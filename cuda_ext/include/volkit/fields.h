// A task's fields, listed once: from the list come the members of the struct that kernels read, and the names, types and
// lengths that the module's door (task.h) checks.
//
//   TENSOR(element, name, count)   address of `count` elements, contiguous, where the kernel runs
//   STRIDED(element, name, count)  the same in any layout: its strides are fields of their own, or do not matter
//   HOST(element, name, count)     address of `count` elements in host memory
//   NUMBER(type, name)
//
// `count` is an expression of the task's numbers.
#pragma once

#include <cstdint>

namespace volkit {

#define VOLKIT_SKIP(...)
#define VOLKIT_POINTER_MEMBER(element, name, count) element* name;
#define VOLKIT_NUMBER_MEMBER(type, name) type name;
#define VOLKIT_VISIT_TENSOR(element, name, count) visitor.tensor(*this, #name, name, int64_t(count), true);
#define VOLKIT_VISIT_STRIDED(element, name, count) visitor.tensor(*this, #name, name, int64_t(count), false);
#define VOLKIT_VISIT_HOST(element, name, count) visitor.host(#name, name, int64_t(count));
#define VOLKIT_VISIT_NUMBER(type, name) visitor.number(#name, name);

#define VOLKIT_TASK(Task, FIELDS)                                                                             \
  struct Task {                                                                                               \
    FIELDS(VOLKIT_POINTER_MEMBER, VOLKIT_POINTER_MEMBER, VOLKIT_POINTER_MEMBER, VOLKIT_NUMBER_MEMBER)         \
    template <class Visitor> void visit_numbers(Visitor& visitor) {                                           \
      FIELDS(VOLKIT_SKIP, VOLKIT_SKIP, VOLKIT_SKIP, VOLKIT_VISIT_NUMBER)                                      \
    }                                                                                                         \
    template <class Visitor> void visit_memory(Visitor& visitor) {                                            \
      FIELDS(VOLKIT_VISIT_TENSOR, VOLKIT_VISIT_STRIDED, VOLKIT_VISIT_HOST, VOLKIT_SKIP)                       \
    }                                                                                                         \
  };

}  // namespace volkit
