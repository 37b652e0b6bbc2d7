# make demo    everything from a bare machine to out/demo/index.html
# make test    ruff, mypy, pytest
# make study   policies in the imagination against the simulator, anew into docs/study (under an hour on two cores)
# make setup   only the environment in .venv

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STRICT := fourd_ros/geometry fourd_ros/robot fourd_ros/bridge fourd_ros/evaluation
WORKERS ?= 2

# Buffers in huge pages (glibc 2.35+): in a virtual machine, small pages alone can make torch ten times slower.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: demo test check setup study lock clean

demo:
	@$(PYTHON) tools/bootstrap.py --demo-only
	@$(BIN)/fourd demo

test: check
	$(BIN)/python -m pytest -n $(WORKERS)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict $(STRICT)

setup:
	@$(PYTHON) tools/bootstrap.py

study: setup
	$(BIN)/fourd evaluate policies config/evaluate/study.yaml --out out/study --workers $(WORKERS)
	mkdir -p docs/study
	cp out/study/report.html out/study/per_unit.csv out/study/manifest.json out/study/summary.md docs/study/

lock: setup
	$(BIN)/python tools/lock.py

clean:
	rm -rf .venv build out *.egg-info
