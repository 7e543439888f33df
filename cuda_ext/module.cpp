// The Python module: which instruction set runs, whether CUDA is here, and every op of the registry.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#if defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#define VOLKIT_ISA module_only
#include "task.h"
#include "volkit/isa_list.h"
#include "volkit/registry.h"

namespace nb = nanobind;

namespace volkit {

// Each op is declared once for each instruction set that was compiled, and once for CUDA.
#define VOLKIT_OP(name, Task, memory) void name(const Task&);
#define VOLKIT_DECLARE(isa, unused) namespace isa { VOLKIT_OPS }
VOLKIT_ISA_LIST(VOLKIT_DECLARE, )
#undef VOLKIT_OP

#if VOLKIT_HAS_CUDA
namespace cuda {
#define VOLKIT_OP(name, Task, memory) void name(const Task&, uintptr_t stream);
VOLKIT_OPS
#undef VOLKIT_OP
int device_count();
}  // namespace cuda
#endif

namespace {

#define VOLKIT_NAME(isa, unused) #isa,
const char* const kIsaNames[] = {VOLKIT_ISA_LIST(VOLKIT_NAME, )};
constexpr int kIsaCount = sizeof(kIsaNames) / sizeof(kIsaNames[0]);

#if defined(__linux__) && defined(__x86_64__)
constexpr long kTileData = 18;

// Whether the system hands out the tiles' state; asking changes nothing.
bool amx_supported() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & bit_AMX_BF16) || !(d & bit_AMX_TILE)) return false;
  constexpr long kGetSupported = 0x1021;
  uint64_t features = 0;
  return syscall(SYS_arch_prctl, kGetSupported, &features) == 0 && (features >> kTileData & 1);
}

// That state is large, so Linux hands it out on request, to the whole process: before the first op that needs it.
void request_amx() {
  constexpr long kRequestPermission = 0x1023;
  static const bool permitted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  if (!permitted) {
    throw std::runtime_error("volkit: the system refuses this process the state of AMX; set VOLKIT_ISA=avx512_bf16");
  }
}
#else
bool amx_supported() { return false; }
void request_amx() {}
#endif

bool processor_has(const std::string& isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512cd");
  if (isa == "amx_bf16") return v4 && __builtin_cpu_supports("avx512bf16") && amx_supported();
  if (isa == "avx512_bf16") return v4 && __builtin_cpu_supports("avx512bf16");
  if (isa == "avx512") return v4;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("f16c");
#else
  return isa == "portable";
#endif
}

std::vector<std::string> usable_isas() {
  std::vector<std::string> names;
  for (const char* name : kIsaNames) {
    if (processor_has(name)) names.emplace_back(name);
  }
  return names;
}

int active_isa = -1;
bool active_needs_amx = false;

void use_isa(const std::string& wanted) {
  for (int i = 0; i < kIsaCount; ++i) {
    if (wanted == kIsaNames[i] && processor_has(wanted)) {
      active_isa = i;
      active_needs_amx = wanted == "amx_bf16";
      return;
    }
  }
  std::string known;
  for (const auto& name : usable_isas()) known += (known.empty() ? "" : ", ") + name;
  throw nb::value_error(("instruction set '" + wanted + "' is not usable here; choose one of: " + known).c_str());
}

template <class Task> using Variants = std::array<void (*)(const Task&), kIsaCount>;

template <class Task> void define(nb::module_& m, nb::dict& fields, const char* name, const char* memory,
                                  const Variants<Task>& variants) {
  const Door door = Door::of<Task>(name, memory, false);
  fields[name] = door.fields();
  m.def(name, [variants, door](nb::kwargs given) {
    if (active_isa < 0) throw std::runtime_error("volkit: this processor has none of the compiled instruction sets");
    if (active_needs_amx) request_amx();
    const Task task = door.read<Task>(given);
    nb::gil_scoped_release unlocked;
    variants[active_isa](task);
  });
}

#if VOLKIT_HAS_CUDA
template <class Task>
void define_cuda(nb::module_& m, const char* name, const char* memory, void (*launch)(const Task&, uintptr_t)) {
  const Door door = Door::of<Task>(name, memory, true);
  m.def(name, [launch, door](uintptr_t stream, nb::kwargs given) {
    const Task task = door.read<Task>(given);
    nb::gil_scoped_release unlocked;
    launch(task, stream);
  });
}
#endif

}  // namespace
}  // namespace volkit

NB_MODULE(_native, m) {
  using namespace volkit;
  const auto usable = usable_isas();
  const char* wanted = std::getenv("VOLKIT_ISA");
  if (wanted && *wanted) {
    use_isa(wanted);
  } else if (!usable.empty()) {
    use_isa(usable.back());
  }
  m.def("isa", [] { return std::string(active_isa < 0 ? "none" : kIsaNames[active_isa]); });
  m.def("isas", &usable_isas);
  m.def("use_isa", &use_isa);
#define VOLKIT_VARIANT(isa, name) &isa::name,
  nb::dict fields;
#define VOLKIT_OP(name, Task, memory) define<Task>(m, fields, #name, memory, {VOLKIT_ISA_LIST(VOLKIT_VARIANT, name)});
  VOLKIT_OPS
#undef VOLKIT_OP
  m.attr("fields") = fields;  // of each op: name -> (type, whether it must be given)
#if VOLKIT_HAS_CUDA
#define VOLKIT_OP(name, Task, memory) define_cuda<Task>(m, #name "_cuda", memory, &cuda::name);
  VOLKIT_OPS
#undef VOLKIT_OP
  m.attr("has_cuda") = true;
  m.def("device_count", &cuda::device_count);
#else
  m.attr("has_cuda") = false;
  m.def("device_count", [] { return 0; });
#endif
}
