// The Python module: which instruction set runs, whether CUDA is here, and every op of the registry.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#if defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
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
#define VOLKIT_OP(name, Task) void name(const Task&);
#define VOLKIT_DECLARE(isa, unused) namespace isa { VOLKIT_OPS }
VOLKIT_ISA_LIST(VOLKIT_DECLARE, )
#undef VOLKIT_OP

#if VOLKIT_HAS_CUDA
namespace cuda {
#define VOLKIT_OP(name, Task) void name(const Task&, uintptr_t stream);
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
// The tiles' state is large, so Linux hands it out on request, to the whole process.
bool amx_permitted() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & bit_AMX_BF16) || !(d & bit_AMX_TILE)) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool amx_permitted() { return false; }
#endif

bool processor_has(const std::string& isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512cd");
  if (isa == "amx_bf16") return v4 && __builtin_cpu_supports("avx512bf16") && amx_permitted();
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

void use_isa(const std::string& wanted) {
  for (int i = 0; i < kIsaCount; ++i) {
    if (wanted == kIsaNames[i] && processor_has(wanted)) {
      active_isa = i;
      return;
    }
  }
  std::string known;
  for (const auto& name : usable_isas()) known += (known.empty() ? "" : ", ") + name;
  throw nb::value_error(("instruction set '" + wanted + "' is not usable here; choose one of: " + known).c_str());
}

template <class Task> using Variants = std::array<void (*)(const Task&), kIsaCount>;

template <class Task> void define(nb::module_& m, const char* name, const Variants<Task>& variants) {
  m.def(name, [variants](nb::args args) {
    if (active_isa < 0) throw std::runtime_error("volkit: this processor has none of the compiled instruction sets");
    const Task task = task_from<Task>(args, 0);
    nb::gil_scoped_release unlocked;
    variants[active_isa](task);
  });
}

#if VOLKIT_HAS_CUDA
template <class Task> void define_cuda(nb::module_& m, const char* name, void (*launch)(const Task&, uintptr_t)) {
  m.def(name, [launch](nb::args args) {
    const Task task = task_from<Task>(args, 1);
    const auto stream = nb::cast<uintptr_t>(args[args.size() - 1]);
    nb::gil_scoped_release unlocked;
    launch(task, stream);
  });
}
#endif

}  // namespace
}  // namespace volkit

// A training step frees and takes the same tensors again and again. Left to itself glibc maps each anew, and a fifth of
// the time goes into page faults (measured for 30 MB: 3300 faults and 5 ms of system time mapped, 0.6 ms kept). 32 MiB is the most it accepts.
static void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

NB_MODULE(_native, m) {
  using namespace volkit;
  keep_freed_memory();
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
#define VOLKIT_OP(name, Task) define<Task>(m, #name, {VOLKIT_ISA_LIST(VOLKIT_VARIANT, name)});
  VOLKIT_OPS
#undef VOLKIT_OP
#if VOLKIT_HAS_CUDA
#define VOLKIT_OP(name, Task) define_cuda<Task>(m, #name "_cuda", &cuda::name);
  VOLKIT_OPS
#undef VOLKIT_OP
  m.attr("has_cuda") = true;
  m.def("device_count", &cuda::device_count);
#else
  m.attr("has_cuda") = false;
  m.def("device_count", [] { return 0; });
#endif
}
