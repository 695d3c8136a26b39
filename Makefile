# Everything works in .venv, which is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := .ci/install $(BIN)/python
# tests start many processes: none has to compile again what another one has
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup format lint types quick test test-slow test-browser test-hf test-oldest nightly eval gate bench-training bench-world bench-metrics bench-statistics bench-streaming bench-published bench-checkpoint bench-ablations bench-field bench-field-chain bench-procedures bench-report bench-serving bench-faults bench-tests bench-scale docs clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -c constraints.txt -e '.[dev]'
	touch $@

# replay the released checkpoint on the built-in test videos; the last line is the report's path
eval: $(READY)
	$(BIN)/prospect-eval run --ckpt workbench-tiny --suite workbench

# gate that run against the committed baseline; `prospect-eval gate ... --update` writes a new baseline
gate: $(READY)
	$(BIN)/prospect-eval gate runs/workbench-tiny-workbench-none --baseline reports/baselines/workbench.json --strict

# prefix sharing, overhead, memory and resume of training (and, with a GPU, the real shapes); last line: one JSON object
bench-training: $(READY)
	$(BIN)/python -m benchmarks.performance.training --output reports/training/training.json

# difficulty of the built-in test videos for limited observers; writes the dataset card; last line: one JSON object
bench-world: $(READY)
	$(BIN)/python -m benchmarks.quality.world --output reports/workbench

# how fast metrics are: an hour matched, 100 hours scored; last line: one JSON object
bench-metrics: $(READY)
	$(BIN)/python -m benchmarks.performance.metrics --output reports/metrics/metrics.json

# coverage of intervals, family-wise error, power at the detectable difference; about 30 minutes; last line: one JSON object
bench-statistics: $(READY)
	$(BIN)/python -m benchmarks.quality.intervals --output reports/metrics/statistics.json

# how fast test videos are replayed, whether the cost of a stream stays flat; last line: one JSON object
bench-streaming: $(READY)
	$(BIN)/python -m benchmarks.performance.streaming --output reports/streaming/streaming.json

# a training step and a streamed minute of the true SmolVLM2-256M shape, float32 and bfloat16; last line: one JSON object
bench-published: $(READY)
	$(BIN)/python -m benchmarks.performance.published_shape --output reports/published/smolvlm2_256m.json

# how long a report over 100 episodes of 10 minutes takes to build and to open; last line: one JSON object
bench-report: $(READY)
	$(BIN)/python -m benchmarks.performance.report --output reports/report/report.json

# reuse of prompts by a server, overhead and memory of the client of served models; last line: one JSON object
bench-serving: $(READY)
	$(BIN)/python -m benchmarks.performance.serving --output reports/serving/serving.json

# kills, damaged files, hours of stream; the last line: one JSON object
bench-faults: $(READY)
	$(INSTALL) -c constraints.txt -e '.[dev,drill]'
	$(BIN)/python -m benchmarks.reliability.faults --output reports/faults.json

# workers, a Ray cluster, a worker killed, data at size; about 20 minutes; last line: one JSON object
bench-scale: $(READY)
	$(BIN)/python -m benchmarks.performance.scale --output reports/scale/scale.json

# which lines the tests run and which changes of the code they notice; an hour; last line: one JSON object
bench-tests: $(READY)
	$(INSTALL) -c constraints.txt -e '.[dev,drill]'
	$(BIN)/coverage run -m pytest
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mutmut run
	$(BIN)/python -m benchmarks.reliability.tests --output reports/tests.json

# closed-loop scores of the released checkpoint and of its memory strategies; hours; last line: one JSON object
bench-checkpoint: $(READY)
	$(BIN)/python -m benchmarks.quality.checkpoint --output reports/checkpoint/checkpoint.json

# contribution of each choice of the recipe; 45 minutes; BASE and DATA: outputs of train.sh; last line: one JSON object
bench-ablations: $(READY)
	$(BIN)/python -m benchmarks.quality.ablations --base $(or $(BASE),runs/workbench/5-both) \
	  --data $(or $(DATA),runs/workbench/data/world) --output reports/ablations.json

# step annotations of CaptainCook4D and Goal-Step (REFERENCE: a folder of both): counts, blind baselines, the workbench compared
# with them, a tiny model trained for 10 minutes; last line: one JSON object
bench-procedures: $(READY)
	$(BIN)/python -m benchmarks.quality.procedures --minutes 10 --output reports/procedures $(if $(REFERENCE),--reference $(REFERENCE))

# published benchmarks: values equal to the published scorers' (REFERENCE: a folder of them), constant answers, cost of polls
bench-field: $(READY)
	$(BIN)/python -m benchmarks.quality.field $(if $(REFERENCE),--reference $(REFERENCE)) --output reports/field.json

# the suites of published benchmarks: run, kill, resume, score, report, gate (REFERENCE: a folder of their files)
bench-field-chain: $(READY)
	$(BIN)/python -m benchmarks.reliability.field_chain $(if $(REFERENCE),--reference $(REFERENCE)) --output reports/field/chain.json

# the documentation site, into site/; any warning is an error
docs: $(READY)
	$(BIN)/python -m prospect_eval.cli.handbook docs/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file .ci/mkdocs.yml

# formatting, lint, prose, spelling and types; `make format` applies the fixes that ruff can make
SOURCES := prospect_core prospect_eval tests benchmarks .ci
TEXTS := $(SOURCES) docs reports README.md CHANGELOG.md CONTRIBUTING.md Makefile pyproject.toml
format: $(READY)
	$(BIN)/ruff check --quiet --fix-only $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

lint: $(READY)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/python .ci/prose/prose_lint.py
	$(BIN)/codespell $(TEXTS)

types: $(READY)
	$(BIN)/mypy

# tests run in parallel; WORKERS=0 runs them in one process, as a debugger needs it
WORKERS ?= logical
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal

# in a minute: formatting, lint, types, and every test that needs neither torch nor more than a second
quick: lint types
	$(PYTEST) -m unit

# before a change is shared: the default suite, with types checked at the same time
test: lint
	$(BIN)/mypy & types=$$!; $(PYTEST); tests=$$?; wait $$types && exit $$tests

# before a change is merged: the slow tests
test-slow: $(READY)
	$(PYTEST) -m "slow and not nightly"

# reports, previews and comparisons opened in Chromium
test-browser: $(READY)
	$(PYTEST) -m browser

# models with Hugging Face's own processors; torchvision is installed in a folder of its own, because a build for GPUs
# cannot be imported with a CPU build of torch elsewhere
HF := $(VENV)/hf
test-hf: $(READY)
	test -d $(HF) || $(INSTALL) --target $(HF) --no-deps -c constraints.txt torchvision
	PYTHONPATH=$(HF) $(PYTEST) -m hf tests/hf

# the model and its streams on the oldest transformers that pyproject.toml admits
OLDEST := $(VENV)/oldest
OLDEST_TESTS := tests/core/model/test_modeling.py \
	$(addprefix tests/core/stream/,test_runner.py test_batching.py test_kv_cache.py test_speculation.py strategies) \
	tests/integration/test_cache_streams.py tests/eval/models/test_registry.py
test-oldest: $(READY)
	test -d $(OLDEST) || $(INSTALL) --target $(OLDEST) \
		-c constraints-oldest.txt transformers
	PYTHONPATH=$(OLDEST) $(PYTEST) $(OLDEST_TESTS)

# once a day: Ray clusters, every command of every page, the drill of kills and damaged files, mutation tests; some hours
nightly: test-oldest
	$(PYTEST) -m nightly
	HYPOTHESIS_PROFILE=nightly $(PYTEST) -m unit
	$(MAKE) bench-faults bench-tests

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
