# The few commands that a person and CI both use. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install export test test-runtime test-slow check-results lint format rehearse bench bench-full bench-load bench-traffic bench-panel bench-corpus bench-plan bench-attacks soak soak-attacks amd-report lock release clean

# Benchmarks import ONNX Runtime, whose telemetry is on unless this is set.
export ORT_DISABLE_TELEMETRY := 1

PYTHON ?= python3
VENV   ?= .venv
# The one onnxruntime distribution of this host; never two in one environment.
ORT    ?= onnxruntime
MODEL  ?= mini
RECIPE ?= export/recipes/$(MODEL).toml
# Arguments of `make amd-report`.
BUNDLE ?= build/$(MODEL)
PROVIDERS ?= migraphx
BIN    := $(VENV)/bin
# Workers of the fast suites.
WORKERS ?= 2
# Pages with tables that the benchmarks make.
PAGES  := README.md benchmarks/README.md runtime/evaluation/THRESHOLDS.md runtime/SERVING.md runtime/EARLY-EXITS.md runtime/AMD.md \
    runtime/kernels/FAST.md runtime/scale/capacity.md runtime/scale/corpus.md

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

SOURCES := $(wildcard runtime/kernels/src/* runtime/kernels/src/isa/* runtime/kernels/check/*)
SOURCES := $(filter %.h %.cc %.inl,$(SOURCES))
KERNELS := $(SOURCES) $(wildcard runtime/kernels/CMakeLists.txt runtime/kernels/pyproject.toml \
    runtime/kernels/hazgate_kernels/*.py)

# Optional: without a C++ compiler their tests are skipped and say so. Argument: the bin folder.
define install_kernels
if command -v $${CXX:-c++} > /dev/null && command -v cmake > /dev/null; then \
    echo "$(1)/python -m pip install ./runtime/kernels"; \
    $(1)/python -m pip install --quiet --disable-pip-version-check ./runtime/kernels; \
else echo "no C++ compiler or no CMake here: without the fused int8 kernels"; fi
endef

$(VENV)/installed: constraints.txt requirements-dev.txt $(wildcard runtime/pyproject.toml runtime/*/pyproject.toml) \
    export/pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip hatchling
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(ORT) \
	    -e 'runtime[cli,serve,grpc,hub,languages,otel]' -e runtime/evaluation \
	    -e 'runtime/scale[corpus,plan,ray-serve,triton]' -e 'export[build,mini,multilingual]' -r requirements-dev.txt
	@# xds-protos carries older copies of its messages; the last one installed wins.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    --force-reinstall --no-deps opentelemetry-proto
	@$(call install_kernels,$(BIN))
	@touch $@

install: $(VENV)/installed  ## create .venv with the distributions, versions as locked

export: install  ## build the bundle of MODEL (mini, mlcommons) or RECIPE=path.toml into build/
	$(BIN)/hazgate-export build $(RECIPE)

# The small model that tests ask is built again if anything that it is made of is newer.
MINI := build/mini/bundle.json
$(MINI): $(VENV)/installed export/recipes/mini.toml \
    $(shell find export/hazgate_export runtime/hazgate export/adapters export/training \
        -type f ! -name '*.pyc')
	$(BIN)/hazgate-export build export/recipes/mini.toml

test: install $(MINI) test-runtime  ## the whole fast suite, that of test-runtime included
	MINI_BUNDLE=$(dir $(MINI)) $(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not slow and not results' \
	    --ignore tests/runtime --ignore tests/gateway

# The runtime as a gateway installs it: neither the exporter nor torch, and a committed bundle.
RUNTIME_BIN := .venv-runtime/bin
.venv-runtime/installed: constraints.txt requirements-runtime-tests.txt runtime/pyproject.toml $(KERNELS)
	$(PYTHON) -m venv .venv-runtime
	$(RUNTIME_BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    $(ORT) -e 'runtime[cli,serve,grpc,hub,languages,otel]' -r requirements-runtime-tests.txt
	@# xds-protos carries older copies of its messages; the last one installed wins.
	$(RUNTIME_BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    --force-reinstall --no-deps opentelemetry-proto
	@$(call install_kernels,$(RUNTIME_BIN))
	@touch $@

test-runtime: .venv-runtime/installed  ## tests of runtime and gateway, without torch and the exporter
	$(RUNTIME_BIN)/python -c "import importlib.util as u, sys; \
	    sys.exit([m for m in ('torch', 'transformers', 'hazgate_export') if u.find_spec(m)] or 0)"
	$(RUNTIME_BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not slow' tests/runtime tests/gateway

test-slow: install $(MINI)  ## tests of real components at full size
	MINI_BUNDLE=$(dir $(MINI)) $(BIN)/pytest -m slow

check-results: install  ## check committed results against their promises and the pages
	$(BIN)/pytest -m results tests/benchmarks

lint: install  ## style, types and the boundaries between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(SOURCES)

format: install  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(SOURCES)

rehearse: install  ## merge, export and verify the production recipe on a full-size stand-in
	$(BIN)/python -m benchmarks.rehearse build/rehearsal
	$(BIN)/python -m benchmarks.readme $(PAGES)

$(VENV)/bench-installed: $(VENV)/installed requirements-bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    -r requirements-bench.txt
	@touch $@

# A peer whose pins contradict this project's has an environment of its own.
build/peers/infinity/bin/infinity_emb: benchmarks/load/peers/infinity-requirements.txt
	$(PYTHON) -m venv build/peers/infinity
	build/peers/infinity/bin/python -m pip install --quiet --disable-pip-version-check -r $<

bench: $(VENV)/bench-installed  ## time PyTorch, OpenVINO and others against hazgate on build/mini
	$(BIN)/python -m benchmarks.speed.run
	$(BIN)/python -m benchmarks.speed.report
	$(BIN)/python -m benchmarks.engines.run --size mini --rounds 2
	$(BIN)/python -m benchmarks.memory.footprint --size mini
	$(BIN)/python -m benchmarks.engines.session_options --size mini
	$(BIN)/python -m benchmarks.plan.service_times
	$(BIN)/python -m benchmarks.readme $(PAGES)

bench-load: $(VENV)/bench-installed build/peers/infinity/bin/infinity_emb  ## load hazgate and other servers, on build/mini
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.load.reading
	$(BIN)/python -m benchmarks.plan.service_times
	$(BIN)/python -m benchmarks.readme $(PAGES)

bench-traffic: install  ## replay an agent's loop and chats on build/mini, and watch growing texts
	$(BIN)/python -m benchmarks.traffic.store build/mini
	$(BIN)/python -m benchmarks.load.watching build/mini
	$(BIN)/python -m benchmarks.readme $(PAGES)

bench-panel: install  ## time levels on one body, build/panel, beside build/mini
	$(BIN)/python -m benchmarks.speed.panel build/panel build/mini
	$(BIN)/python -m benchmarks.readme $(PAGES)

bench-plan: install  ## compare what `hazgate plan` predicts with this machine, on build/mini
	$(BIN)/python -m benchmarks.plan.service_times
	$(BIN)/python -m benchmarks.plan.check
	$(BIN)/python -m benchmarks.plan.plots
	$(BIN)/python -m benchmarks.readme $(PAGES)

bench-corpus: install  ## time `hazgate corpus` next to the engine's own peak, on one node and two
	$(BIN)/python -m benchmarks.corpus.run
	$(BIN)/python -m benchmarks.readme $(PAGES)

bench-attacks: install  ## attack `hazgate serve` on build/mini beside honest requests
	$(BIN)/python -m benchmarks.attacks build/mini
	$(BIN)/python -m benchmarks.readme $(PAGES)

soak: install  ## run `hazgate serve` for half an hour and watch its memory
	$(BIN)/python -m benchmarks.load.soak
	$(BIN)/python -m benchmarks.readme $(PAGES)

soak-attacks: install  ## the same with 5 % of attacks among the requests
	$(BIN)/python -m benchmarks.attacks.soak build/mini
	$(BIN)/python -m benchmarks.readme $(PAGES)

amd-report: install  ## on an MI300X: doctor, warm, parity and latency of BUNDLE, to send back
	$(BIN)/python -m benchmarks.quality.gpu_report $(BUNDLE) --providers $(PROVIDERS) --programs build/programs

bench-full: $(VENV)/bench-installed  ## the same engines on the stand-in of `make rehearse`
	$(BIN)/python -m benchmarks.engines.run --size full --rounds 3 --max-tokens 2048
	$(BIN)/python -m benchmarks.engines.operators --size full
	$(BIN)/python -m benchmarks.engines.roofline
	$(BIN)/python -m benchmarks.engines.long --rounds 1
	$(BIN)/python -m benchmarks.memory.footprint --size full
	$(BIN)/python -m benchmarks.plan.service_times
	$(BIN)/python -m benchmarks.readme $(PAGES)

lock: install  ## resolve constraints.txt again
	$(BIN)/python -m pip install --quiet uv
	printf -- '-e ./runtime[cli,cpu,serve,grpc,hub,languages,otel]\n-e ./runtime/evaluation\n-e ./runtime/scale[corpus,plan,ray-serve,triton]\n-e ./export[build,mini,multilingual]\n' > build/lock.in
	# What torch itself needs depends on the index that it comes from (CPU, CUDA, ROCm).
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate \
	    --no-emit-package hazgate --no-emit-package hazgate-evaluation \
	    --no-emit-package hazgate-scale --no-emit-package hazgate-export build/lock.in \
	    requirements-dev.txt requirements-runtime-tests.txt requirements-bench.txt | grep -vE '^(nvidia-|cuda-|triton==)' > constraints.txt

# Tools of a release alone, which no test needs.
$(VENV)/release-installed: requirements-release.txt $(VENV)/installed
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-release.txt build
	@touch $@

# What a server installs, alone in an environment of its own: the list and the audit are of nothing else.
release: $(VENV)/release-installed  ## wheels, a bill of materials, an audit of what a server installs, checks of deploy/
	rm -rf build/release && mkdir -p build/release
	for each in runtime runtime/evaluation runtime/scale export; do \
	    .venv-release/bin/python -m build --quiet --wheel --outdir build/release $$each || exit 1; done
	$(PYTHON) -m venv build/release/installed
	build/release/installed/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    './runtime[cpu,cli,serve,grpc,hub,languages,otel]'
	.venv-release/bin/cyclonedx-py environment --output-reproducible --of JSON -o build/release/hazgate.cdx.json \
	    build/release/installed/bin/python
	@# --strict: a distribution that nobody could look up fails the release, too.
	build/release/installed/bin/python -m pip freeze --exclude hazgate > build/release/requirements.txt
	.venv-release/bin/pip-audit --strict --disable-pip --no-deps -r build/release/requirements.txt
	.venv-release/bin/hadolint runtime/deploy/Dockerfile runtime/deploy/Dockerfile.kserve runtime/deploy/Dockerfile.rocm
	@# A host without it fails the release: the unit would be one that nobody checked.
	systemd-analyze security --offline=true --threshold=20 runtime/deploy/hazgate.service > /dev/null
	rm -rf build/release/installed

clean:  ## remove the environment and everything built
	rm -rf $(VENV) .venv-runtime .venv-release build
