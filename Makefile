# Two commands matter: `make demo` (the whole job, end to end) and `make test`.
PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
# Threads that wait do not spin, as the cores may be shared; freed memory is kept for the next step.
export OMP_WAIT_POLICY ?= PASSIVE
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TRIM_THRESHOLD_ ?= 4294967296
export MALLOC_TOP_PAD_ ?= 67108864

.PHONY: demo test check bench docs clean

demo: .venv/ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/quickstart.sh demo

test: .venv/ready
	$(BIN)/pytest

check: .venv/ready
	scripts/check

bench: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" bash benchmarks/run_all.sh

docs: .venv/ready
	$(BIN)/python scripts/make_docs.py

# torch comes first and by exact version: any other pulls gigabytes of CUDA packages.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,calibrate,track,tensorboard,excel,heif,dev]'
	touch $@

clean:
	rm -rf .venv demo
