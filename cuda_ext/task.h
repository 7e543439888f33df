// From Python arguments to an op's task, without naming the fields again: a task is a plain aggregate, and an aggregate
// can be built from values that convert to whatever type each field has. Addresses arrive as integers (0.7 us a call;
// DLPack: 7).
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace volkit {

struct Argument {
  PyObject* object = nullptr;

  template <class T> operator T() const {
    if constexpr (std::is_pointer_v<T>) {
      return reinterpret_cast<T>(PyLong_AsSize_t(object));
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<T>(PyFloat_AsDouble(object));
    } else {
      return static_cast<T>(PyLong_AsLongLong(object));
    }
  }
};

template <class Task, std::size_t... I> constexpr bool takes(std::index_sequence<I...>) {
  return requires { Task{((void)I, Argument{})...}; };
}

template <class Task, std::size_t N = 0> constexpr std::size_t field_count() {
  if constexpr (takes<Task>(std::make_index_sequence<N + 1>{})) {
    return field_count<Task, N + 1>();
  } else {
    return N;
  }
}

template <class Task, std::size_t... I> Task build_task(const nanobind::args& args, std::index_sequence<I...>) {
  return Task{Argument{PyTuple_GET_ITEM(args.ptr(), I)}...};
}

// `extra`: arguments after the task's fields, read by the caller.
template <class Task> Task task_from(const nanobind::args& args, std::size_t extra) {
  constexpr std::size_t count = field_count<Task>();
  if (args.size() != count + extra) {
    throw nanobind::type_error(
        ("expected " + std::to_string(count + extra) + " arguments, got " + std::to_string(args.size())).c_str());
  }
  const Task task = build_task<Task>(args, std::make_index_sequence<count>{});
  if (PyErr_Occurred()) throw nanobind::python_error();
  return task;
}

}  // namespace volkit
