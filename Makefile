# The set-up and the main jobs. `make demo` and `make test` install what they need first.

PYTHON ?= python3
# Installed before all else, as it decides between the CPU and the CUDA build of torch. On another
# index: make TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
TORCH ?= torch==2.13.0
# Threads of the demo: as many as its results in the README were made with.
THREADS ?= 2
# Several seeds make several runs: make demo SEED='1 2 3'
SEED ?= 42
# Processes that share the test suite's files.
PROCESSES ?= 2

BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: help demo docs notebooks picture test test-browser test-large test-faults test-distributed test-vllm lint clean

help:
	@echo 'make demo   train the embedded model on the embedded data (2 CPU cores, some minutes)'
	@echo 'make test   run the test suite'
	@echo 'make test-large   rehearse steps of models of published size, without their weights'
	@echo 'make test-faults   kill, stop and starve runs, which must lose nothing (some minutes)'
	@echo 'make test-distributed   run DDP, DeepSpeed and FSDP2 in two processes (some minutes)'
	@echo 'make test-vllm   run rollouts on a real vLLM server, in an environment of its own (2.5 GB)'
	@echo 'make test-browser   open the viewer in Chromium'
	@echo 'make docs   build the documentation as a site'
	@echo 'make notebooks   run the notebooks from start to end'
	@echo 'make picture   make the picture of the README that moves, of a run of the demo'
	@echo 'make lint   check style, types and import rules'
	@echo 'make clean  remove the virtual environment, caches and builds (runs/ stays)'

demo: .venv/installed
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m vrft demo --seed $(SEED)

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

# Models of published size pass a step on shapes alone, and the table of docs/plan.md is made again.
test-large: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m large -n $(PROCESSES) --dist worksteal \
		tests/benchmarks tests/cli tests/models

# Kills, power cuts, full disks, damaged files, signals: what was saved goes on bit for bit.
test-faults: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults -n $(PROCESSES) --dist loadfile \
		tests/faults tests/reward_workers

# DDP, DeepSpeed and FSDP2 in two processes on the CPU, and optimizers of other packages. Of the
# rehearsals only that of four bits needs one of these packages; `make test` runs the others.
test-distributed: .venv/installed-deepspeed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m '' -n $(PROCESSES) --dist loadfile \
		tests/processes/test_distributed.py \
		tests/training/test_rollouts_together.py tests/training/test_optimizers.py \
		tests/training/test_quantized_runs.py tests/models/test_quantization.py \
		tests/training/test_offload.py tests/sft/test_together.py \
		'tests/step_plans/test_rehearsal.py::test_the_predicted_peak_is_the_measured_one[qwen2_vl, four bits]'

# Rollouts and evaluations on a real vLLM server on the CPU, in an environment of its own. The files
# are shared in this order, by which two processes start about as many servers each.
test-vllm: .venv/installed .venv-vllm/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m vllm -n $(PROCESSES) --dist loadfile \
		--no-loadscope-reorder tests/training tests/evaluation tests/cli tests/engines

# The viewer in a real browser: Debian's Chromium, installed where there is none and root may do so.
test-browser: .venv/installed-browser
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { test "$$(id -u)" = 0 && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq chromium fonts-dejavu-core >/dev/null; } || \
		{ echo 'make test-browser needs chromium or google-chrome on the PATH' >&2; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/viewer tests/docs

# The picture of the README that moves, of runs/demo, which is trained first where it is not there.
picture: .venv/installed-browser
	@test -e runs/demo/final || OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m vrft train \
		--config demo/lisa_grounding train.log_token_logprobs=true train.output_dir=runs/demo
	$(BIN)/python docs/site/moving_picture.py runs/demo

# The documentation as a site in build/docs; a warning is an error.
docs: .venv/installed-docs
	$(BIN)/mkdocs build --strict --quiet

# The notebooks, each from start to end in a folder of its own. Their outputs are made anew by
# `.venv/bin/python notebooks/execute.py`.
notebooks: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m notebooks -n $(PROCESSES) tests/test_notebook.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .venv-vllm .venv-peer build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'vrft needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) $(TORCH)
	$(PIP) --editable '.[test]'
	@touch $@

.venv/installed-deepspeed: .venv/installed
	$(PIP) --editable '.[test,deepspeed,bitsandbytes]'
	@touch $@

.venv/installed-browser: .venv/installed
	$(PIP) --editable '.[test,browser]'
	@touch $@

.venv/installed-docs: .venv/installed
	$(PIP) --editable '.[docs]'
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[test,dev]'
	@touch $@

# torch by itself, as it decides what the rest runs on; all else without dependencies, as
# configs/vllm/requirements.txt says. torchvision's wheel loads with the help of the .pth alone.
.venv-vllm/installed: configs/vllm/requirements.txt configs/vllm/torchvision_on_cpu.py
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check $(TORCH)
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--requirement configs/vllm/requirements.txt
	site=$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		cp configs/vllm/torchvision_on_cpu.py "$$site" && \
		echo 'import torchvision_on_cpu' > "$$site/torchvision_on_cpu.pth"
	@touch $@

# TRL and what vrft needs beside vLLM, whose environment is read and not changed.
.venv-peer/installed: configs/vllm/peer.txt .venv-vllm/installed
	.venv-vllm/bin/python -m venv .venv-peer
	.venv-peer/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--requirement configs/vllm/peer.txt
	vllm=$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	site=$$(.venv-peer/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		echo "import site; site.addsitedir('$$vllm')" > "$$site/vllm.pth"
	@touch $@
