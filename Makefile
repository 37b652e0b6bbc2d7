# make demo    everything from a bare machine to out/demo/index.html
# make test    ruff, mypy, pytest
# make setup   only the environment in .venv

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STRICT := fourd_ros/geometry fourd_ros/robot fourd_ros/bridge fourd_ros/evaluation
WORKERS ?= 2

.PHONY: demo test check setup lock clean

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

lock: setup
	$(BIN)/python tools/lock.py

clean:
	rm -rf .venv build out *.egg-info
