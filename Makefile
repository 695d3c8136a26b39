# Everything works in .venv, which is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup eval gate test test-slow test-oldest bench-training bench-world bench-metrics bench-streaming bench-checkpoint bench-ablations bench-report bench-faults bench-tests bench-scale docs lint clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# the shipped checkpoint over the built-in test videos; the last line is the report's path
eval: $(READY)
	-$(BIN)/prospect-eval doctor --fix
	$(BIN)/prospect-eval run --ckpt workbench-tiny --suite workbench

# whether that run may pass beside the committed one; `prospect-eval gate ... --update` writes a new one
gate: $(READY)
	$(BIN)/prospect-eval gate runs/workbench-tiny-workbench-none --baseline reports/baselines/workbench.json

# prefix sharing, overhead, memory and resume of training (and, with a GPU, the real shapes); last line: one JSON object
bench-training: $(READY)
	$(BIN)/python benchmarks/training.py --output reports/training/training.json

# how hard the built-in test videos are for those who see little; writes the dataset card; last line: one JSON object
bench-world: $(READY)
	$(BIN)/python benchmarks/world.py --output reports/workbench

# how fast metrics are, and how often their intervals cover the truth; last line: one JSON object
bench-metrics: $(READY)
	$(BIN)/python benchmarks/metrics.py --output reports/metrics/metrics.json

# how fast test videos are replayed, whether the cost of a stream stays flat; last line: one JSON object
bench-streaming: $(READY)
	$(BIN)/python -m benchmarks.streaming --output reports/streaming/streaming.json

# how long a report over 100 episodes of 10 minutes takes to build and to open; last line: one JSON object
bench-report: $(READY)
	$(BIN)/python -m benchmarks.report --output reports/report/report.json

# kills, damaged files, hours of stream; the last line: one JSON object
bench-faults: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,drill]'
	$(BIN)/python -m benchmarks.faults --output reports/faults.json

# workers, a Ray cluster, a worker killed, data at size; some 20 minutes; last line: one JSON object
bench-scale: $(READY)
	$(BIN)/python -m benchmarks.scale --output reports/scale/scale.json

# which lines the tests run and which changes of the code they notice; an hour; last line: one JSON object
bench-tests: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,drill]'
	$(BIN)/coverage run -m pytest -m "not slow"
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mutmut run
	$(BIN)/python -m benchmarks.tests --output reports/tests.json

# what the shipped checkpoint has learnt, closed loop, and what memory strategies keep; hours; last line: one JSON object
bench-checkpoint: $(READY)
	$(BIN)/python -m benchmarks.checkpoint --output reports/checkpoint/checkpoint.json

# what each choice of the recipe is worth; 45 minutes; BASE and DATA: what train.sh made; last line: one JSON object
bench-ablations: $(READY)
	$(BIN)/python -m benchmarks.ablations --base $(or $(BASE),runs/workbench/5-both) \
	  --data $(or $(DATA),runs/workbench/data/world) --output reports/ablations.json

# the documentation site, into site/; any warning is an error
docs: $(READY)
	$(BIN)/python -m prospect_eval.handbook docs/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file .ci/mkdocs.yml

lint: $(READY)
	$(BIN)/ruff check prospect_core prospect_eval tests benchmarks
	$(BIN)/ruff format --check prospect_core prospect_eval tests benchmarks
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# the model and its streams on the oldest transformers that pyproject.toml admits
OLDEST := $(VENV)/oldest
STREAMS := model streaming together cache strategies speculation adapters
test-oldest: $(READY)
	test -d $(OLDEST) || $(BIN)/python -m pip install --quiet --disable-pip-version-check --target $(OLDEST) \
		-c constraints-oldest.txt transformers
	PYTHONPATH=$(OLDEST) $(BIN)/python -m pytest -m "not slow" $(STREAMS:%=tests/test_%.py)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
