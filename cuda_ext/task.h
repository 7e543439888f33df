// The door between Python and an op's task: keywords in, checked by name, element type, length, layout and place, before
// any address reaches a kernel. A tensor is asked for these five things by the names that torch gives them (0.3 us each
// tensor; DLPack: 7), so that nothing here is built against torch.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "volkit/fields.h"

namespace volkit {

namespace nb = nanobind;

template <class T> constexpr const char* element_name() {
  using E = std::remove_const_t<T>;
  if constexpr (std::is_same_v<E, float>) return "float32";
  if constexpr (std::is_same_v<E, int32_t>) return "int32";
  if constexpr (std::is_same_v<E, int64_t>) return "int64";
  if constexpr (std::is_same_v<E, uint8_t>) return "uint8";
  if constexpr (std::is_void_v<E>) return "float16 or float32";
  return "bytes";
}

struct Field {
  std::string name, type;
  PyObject* key;  // its interned name, kept for the life of the module
  bool used, optional;
};

// torch's own names, interned once.
struct TensorNames {
  PyObject *dtype, *numel, *data_ptr, *is_contiguous, *place;

  explicit TensorNames(bool cuda)
      : dtype(PyUnicode_InternFromString("dtype")), numel(PyUnicode_InternFromString("numel")),
        data_ptr(PyUnicode_InternFromString("data_ptr")), is_contiguous(PyUnicode_InternFromString("is_contiguous")),
        place(PyUnicode_InternFromString(cuda ? "is_cuda" : "is_cpu")) {}
};

// torch's dtype of that name. Borrowed; torch is loaded where a tensor is.
inline PyObject* dtype_named(const char* name) { return nb::object(nb::module_::import_("torch").attr(name)).release().ptr(); }

// What an op is told by its task's fields, and which of them it uses.
class Door {
 public:
  // `uses`: the names of the memory that this op reads or writes, of a task that several ops share; a question mark
  // behind a name: it may be None or left out. Every number is always given.
  template <class Task> static Door of(const char* op, const char* uses, bool cuda) {
    Door door(op, cuda);
    Task task{};
    Lister lister{door};
    task.visit_numbers(lister);
    task.visit_memory(lister);
    std::istringstream words(uses);
    for (std::string word; words >> word;) {
      const bool optional = word.back() == '?';
      if (optional) word.pop_back();
      bool known = false;
      for (Field& field : door.memory_) {
        if (field.name != word) continue;
        known = field.used = true;
        field.optional = optional;
      }
      if (!known) throw std::logic_error(door.op_ + " has no memory named " + word);
    }
    return door;
  }

  template <class Task> Task read(nb::handle given) const {
    Task task{};
    Reader reader{*this, given.ptr()};
    task.visit_numbers(reader);
    reader.at = 0;
    task.visit_memory(reader);
    if (reader.found != PyDict_Size(given.ptr())) refuse_strangers(given);
    return task;
  }

  nb::dict fields() const {
    nb::dict all;
    for (const Field& field : numbers_) all[field.name.c_str()] = nb::make_tuple(field.type, true);
    for (const Field& field : memory_) {
      if (field.used) all[field.name.c_str()] = nb::make_tuple(field.type, !field.optional);
    }
    return all;
  }

 private:
  Door(const char* op, bool cuda) : op_(op), cuda_(cuda), names_(cuda) {}

  struct Lister {
    Door& door;

    template <class T> void number(const char* name, T&) {
      door.numbers_.push_back({name, std::is_floating_point_v<T> ? "float" : "int", intern(name), true, false});
    }
    template <class Task, class T> void tensor(Task&, const char* name, T*&, int64_t, bool) {
      door.memory_.push_back({name, element_name<T>(), intern(name), false, false});
    }
    template <class T> void host(const char* name, T*&, int64_t) {
      door.memory_.push_back({name, "buffer", intern(name), false, false});
    }
    static PyObject* intern(const char* name) { return PyUnicode_InternFromString(name); }
  };

  struct Reader {
    const Door& door;
    PyObject* given;
    Py_ssize_t found = 0;
    std::size_t at = 0;

    template <class T> void number(const char*, T& slot) {
      const Field& field = door.numbers_[at++];
      PyObject* value = look_up(field);
      if constexpr (std::is_floating_point_v<T>) {
        if (!PyFloat_Check(value) && !PyLong_Check(value)) door.refuse_type(field, value, "a number");
        slot = static_cast<T>(PyFloat_AsDouble(value));
      } else {
        if (!PyLong_Check(value)) door.refuse_type(field, value, "an integer");
        slot = static_cast<T>(PyLong_AsLongLong(value));
      }
      if (PyErr_Occurred()) throw nb::python_error();
    }

    template <class Task, class T> void tensor(Task& task, const char*, T*& slot, int64_t count, bool contiguous) {
      const Field& field = door.memory_[at++];
      PyObject* value = field.used ? look_up(field) : nullptr;
      if (!value) return;
      door.check_tensor(field, value, wanted_dtype<T>(task), count, contiguous);
      nb::object address = nb::steal(PyObject_CallMethodNoArgs(value, door.names_.data_ptr));
      if (!address) throw nb::python_error();
      slot = reinterpret_cast<T*>(PyLong_AsSize_t(address.ptr()));
    }

    template <class T> void host(const char*, T*& slot, int64_t count) {
      const Field& field = door.memory_[at++];
      PyObject* value = field.used ? look_up(field) : nullptr;
      if (!value) return;
      Py_buffer buffer;
      if (PyObject_GetBuffer(value, &buffer, PyBUF_C_CONTIGUOUS) != 0) {
        PyErr_Clear();
        door.refuse_type(field, value, "a contiguous buffer in host memory");
      }
      const Py_ssize_t bytes = buffer.len;
      slot = static_cast<T*>(buffer.buf);
      PyBuffer_Release(&buffer);  // the caller's keywords hold it until the kernel is done
      if (bytes != Py_ssize_t(count * sizeof(T))) door.refuse_length(field, bytes, count * sizeof(T), "bytes");
    }

    // Its value; null where it is None or left out and may be.
    PyObject* look_up(const Field& field) {
      PyObject* value = PyDict_GetItemWithError(given, field.key);
      if (value) ++found;
      if (value && value != Py_None) return value;
      if (field.optional) return nullptr;
      door.refuse(nb::type_error, "field '" + field.name + "' (" + field.type + ") is " + (value ? "None" : "missing"));
    }

    template <class T, class Task> static PyObject* wanted_dtype(const Task& task) {
      if constexpr (std::is_void_v<std::remove_const_t<T>>) {
        static PyObject* const half = dtype_named("float16");
        return task.half ? half : wanted_dtype<float>(task);
      } else {
        static PyObject* const dtype = dtype_named(element_name<T>());
        return dtype;
      }
    }
  };

  void check_tensor(const Field& field, PyObject* value, PyObject* dtype, int64_t count, bool contiguous) const {
    nb::object found = nb::steal(PyObject_GetAttr(value, names_.dtype));
    nb::object here = nb::steal(found ? PyObject_GetAttr(value, names_.place) : nullptr);
    nb::object numel = nb::steal(here ? PyObject_CallMethodNoArgs(value, names_.numel) : nullptr);
    if (!numel || !PyLong_Check(numel.ptr())) {
      PyErr_Clear();
      refuse_type(field, value, "a tensor");
    }
    if (found.ptr() != dtype) {
      refuse(nb::type_error, "field '" + field.name + "' is " + text(found) + ", the kernel reads " + text(nb::borrow(dtype)));
    }
    if (here.ptr() != Py_True) {
      refuse(nb::value_error, "field '" + field.name + "' is not in the memory of the " + (cuda_ ? "GPU" : "CPU"));
    }
    const int64_t elements = PyLong_AsLongLong(numel.ptr());
    if (elements != count) refuse_length(field, elements, count, "elements");
    if (!contiguous) return;
    nb::object whole = nb::steal(PyObject_CallMethodNoArgs(value, names_.is_contiguous));
    if (!whole) throw nb::python_error();
    if (whole.ptr() != Py_True) refuse(nb::value_error, "field '" + field.name + "' is not contiguous in memory");
  }

  template <class Error> [[noreturn]] void refuse(Error error, const std::string& what) const {
    throw error((op_ + ": " + what).c_str());
  }

  [[noreturn]] void refuse_type(const Field& field, PyObject* value, const char* wanted) const {
    refuse(nb::type_error, "field '" + field.name + "' is " + Py_TYPE(value)->tp_name + ", not " + wanted);
  }

  [[noreturn]] void refuse_length(const Field& field, int64_t found, int64_t wanted, const char* unit) const {
    refuse(nb::value_error, "field '" + field.name + "' has " + std::to_string(found) + " " + unit + ", expected " +
                                std::to_string(wanted));
  }

  [[noreturn]] void refuse_strangers(nb::handle given) const {
    nb::dict known = fields();
    std::string strangers, all;
    for (auto [name, value] : nb::cast<nb::dict>(given)) {
      if (!known.contains(name)) strangers += (strangers.empty() ? "'" : ", '") + text(name) + "'";
    }
    for (auto [name, value] : known) all += (all.empty() ? "" : ", ") + text(name);
    refuse(nb::type_error, "unknown field " + strangers + "; its fields are " + all);
  }

  static std::string text(nb::handle value) { return nb::str(value).c_str(); }

  std::string op_;
  bool cuda_;
  TensorNames names_;
  std::vector<Field> numbers_, memory_;
};

}  // namespace volkit
