# make demo, make test, make lint, make docs, make bench, make fuzz, make wheel: each sets up what it needs, in .venv.
# make viewer builds the page of volkit view from npm packages (Node.js 18 or later); make wheel puts it into the wheel.
# make engines adds, in .engines, programs that open what is written; without them their tests are skipped.
# Needs Python 3.11 to 3.13 with venv and headers, a C++ compiler and make. PYTHON=... overrules the choice.

VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
SUITABLE := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c '$(SUITABLE)' >/dev/null 2>&1 && { echo $$p; break; }; done)
NATIVE := $(shell find cuda_ext -type f)
# A folder of wheels that pip knows is made known to uv as well, which is used when it is there because it is faster.
UV := $(shell command -v uv 2>/dev/null)
INSTALL = $(if $(UV),UV_FIND_LINKS="$$PIP_FIND_LINKS" $(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)

.PHONY: demo test lint docs bench fuzz wheel viewer engines clean

demo: $(STAMP)
	$(BIN)/volkit demo

# A file of tests a process, a process a core.
test: $(STAMP)
	$(BIN)/python -m pytest -n logical --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# The site, which asks the network for nothing; a broken link or a page in no menu is an error.
docs: $(STAMP)
	$(BIN)/python tools/make_api_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@! grep -rlE '(src|stylesheet)[^>]*https?://' build/docs --include='*.html' || { echo "docs: these load from elsewhere" >&2; exit 1; }

bench: $(STAMP)
	$(BIN)/python tools/bench_ops.py

# Damaged and hostile files, and kills at random moments, over and over with new seeds; mutants leave a log.
fuzz: $(STAMP)
	for seed in 1 2 3 4 5; do VOLKIT_FUZZ_SEED=$$seed $(BIN)/python -m pytest tests/test_poison.py tests/test_kill.py || exit 1; done
	rm -f tools/results/fuzz.jsonl
	for seed in 1 2 3 4 5; do VOLKIT_FUZZ_COUNT=2000 VOLKIT_FUZZ_SEED=$$seed VOLKIT_FUZZ_LOG=$$PWD/tools/results/fuzz.jsonl \
	$(BIN)/python -m pytest -n logical tests/io -k mutants || exit 1; done

# Two wheels in dist: volkit with its viewer, and the toy priors that it does not hold. Installed into an empty environment
# outside the tree, the first must run the demo by itself, and then find the second's.
wheel: $(STAMP) viewer
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . ./scenes/toy_prior
	$(BIN)/python tools/wheel_contents.py dist
	place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && dist=$$PWD/dist && lock=$$PWD/constraints.txt && \
	$(PYTHON) -m venv $$place/env && cd $$place && env/bin/python -m pip install --quiet -c $$lock $$dist/volkit3d-*.whl && \
	env/bin/volkit doctor && env/bin/volkit demo --quick && test -s out/demo/report.html && \
	env/bin/python -m pip install --quiet --no-deps $$dist/volkit3d_toys-*.whl && \
	env/bin/python -c "from volkit.files.bundled import bundled_folder as f; [f('toy_prior/' + n) for n in ('pixels64', 'latent', 'views4')]"

viewer: volkit/viewer/viewer.html
volkit/viewer/viewer.html: $(wildcard tools/viewer/*.*)
	@command -v npm >/dev/null || { echo "the viewer needs Node.js 18 or later with npm: apt-get install nodejs npm" >&2; exit 1; }
	cd tools/viewer && npm ci --silent && npm run --silent build

# Khronos' validator, splat-transform and what drives browsers (npm), Blender as a module (Python 3.11, about 1 GB on the disk), Godot 3,
# Chromium and OpenVDB (Debian's, without root), the viewer. Each is best effort: what is not to be had is said.
GODOT_PARTS = apt-cache depends godot3-server | sed -n 's/^ *Depends: //p' | grep -vx 'libc6\|libgcc-s1\|libstdc++6'
CHROMIUM = .engines/chromium/usr/lib/chromium/chromium
CHROMIUM_PARTS = apt-get install --simulate --no-install-recommends chromium | sed -n 's/^Inst \([^ ]*\).*/\1/p'
OPENVDB_PARTS = apt-get install --simulate --no-install-recommends python3-openvdb libnanovdb-tools | sed -n 's/^Inst \([^ ]*\).*/\1/p'
engines: .engines/node_modules/@playcanvas/splat-transform .engines/bpy/.installed .engines/godot/usr/bin/godot3-server $(CHROMIUM) .engines/openvdb/usr
	$(MAKE) viewer || echo "engines: no viewer; it needs Node.js, npm and its registry" >&2

.engines/node_modules/@playcanvas/splat-transform:
	mkdir -p .engines
	npm install --silent --no-audit --no-fund --prefix .engines gltf-validator@2.0.0-dev.3.10 playwright-core@1.65.1 \
	@playcanvas/splat-transform@3.7.0 \
	|| echo "engines: no glTF validator, no splat-transform, nothing that drives browsers; they need npm and its registry" >&2

.engines/bpy/.installed:
	mkdir -p .engines
	python3.11 -m venv --clear .engines/bpy && .engines/bpy/bin/pip install --quiet bpy==5.0.1 && touch $@ \
	|| echo "engines: no Blender; bpy 5.0.1 needs Python 3.11, and numpy before 2 in its own environment" >&2

.engines/godot/usr/bin/godot3-server:
	mkdir -p .engines/godot
	cd .engines/godot && apt-get download --quiet=2 godot3-server libbrotli1 $$($(GODOT_PARTS)) \
	&& for part in *.deb; do dpkg -x $$part . || exit 1; done \
	|| echo "engines: no Godot; godot3-server is Debian's, apt-get update may be needed first" >&2

.engines/openvdb/usr:
	mkdir -p .engines/openvdb
	cd .engines/openvdb && apt-get download --quiet=2 $$($(OPENVDB_PARTS)) && for part in *.deb; do dpkg -x $$part . || exit 1; done \
	|| echo "engines: no OpenVDB; python3-openvdb and libnanovdb-tools are Debian's, apt-get update may be needed first" >&2

$(CHROMIUM):
	command -v chromium || { mkdir -p .engines/chromium && cd .engines/chromium \
	&& apt-get download --quiet=2 $$($(CHROMIUM_PARTS)) && for part in *.deb; do dpkg -x $$part . || exit 1; done; } \
	|| echo "engines: no Chromium; chromium is Debian's, apt-get update may be needed first" >&2

clean:
	rm -rf $(VENV) .engines volkit/viewer tools/viewer/node_modules build dist out

$(STAMP): pyproject.toml constraints.txt $(NATIVE)
	@test -n "$(PYTHON)" || { echo "volkit needs Python 3.11 to 3.13 with venv: apt-get install python3-venv python3-dev" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -c constraints.txt -e '.[test]'
	touch $@
