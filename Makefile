# make demo     the node end to end on two real exams, results in demo-out/
# make console  the same, and the node stays with its console until Ctrl-C
# make screenshots  the pictures of the console in docs/, taken anew (needs Chromium)
# make test     every test, JOBS=2 files at a time
# make fuzz     mutated input for every parser: SECONDS=60 shared by all of them
# make faults   faults on a real node, an hour: N=1000 SEED=1, or one ROUND=17 of a seed again
# make cluster-faults  the same over a cluster of processes: N=200 SEED=1, ten minutes
# make bench    every benchmark into docs/performance.md, an hour on a quiet machine: ARGS='--only inference'
# make container  the image's steps in a bare Debian, then node and archive as compose.yaml runs them
# make check    format, lint, types, import rules
# make audit    every pinned package asked about at the vulnerability service
# make licences docs/licences.md written anew
# make conformance  docs/conformance.md written anew
# make sbom     sbom.cdx.json: what is installed, as CycloneDX
# EXTRA=gpu     TensorFlow with CUDA in place of the CPU build (after a change: make clean first)

EXTRA ?= cpu
PYTHON ?= python3
SECONDS ?= 60
JOBS ?= 2
N ?= 1000
SEED ?= 1
BIN := .venv/bin
READY := .venv/.ready-$(EXTRA)
TOOLS := .venv-tools/.ready

.PHONY: tools demo console screenshots test fuzz faults cluster-faults bench container check format lock clean audit licences conformance sbom

demo: $(READY)
	$(BIN)/python -m cadnode.demo --out demo-out $(ARGS)

console: $(READY)
	$(BIN)/python -m cadnode.demo --out demo-out --stay $(ARGS)

screenshots: $(READY)
	$(BIN)/python -m tests.screenshots $(ARGS)

test: $(READY) $(TOOLS)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

# The table goes into docs/reliability.md; a single round only shows it.
faults: $(READY)
	$(BIN)/python -m tests.faults -n $(N) --seed $(SEED) \
	  $(if $(ROUND),--round $(ROUND),--docs docs/reliability.md) $(ARGS)

# The page keeps what was measured before of those that ARGS leave out.
bench: $(READY)
	$(BIN)/python -m tests.bench --docs docs/performance.md $(ARGS)
	test ! -e bench-out/capacity.json || \
	  $(BIN)/python -m tests.bench.capacity --kept bench-out/capacity.json --docs docs/scaling.md

cluster-faults: N = 200
cluster-faults: $(READY)
	$(BIN)/python -m tests.faults.cluster -n $(N) --seed $(SEED) --docs docs/reliability.md $(ARGS)

# Takes minutes, root and debootstrap.
container: $(READY)
	$(BIN)/python -m pytest -m container tests/container $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# uv installs in seconds what takes pip two minutes; both check every hash. Where uv cannot reach the
# package index (it does not read pip's settings), pip does the same work.
$(READY): constraints/$(EXTRA).txt constraints/installer.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cadnode needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r constraints/installer.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r constraints/$(EXTRA).txt \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r constraints/$(EXTRA).txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	rm -f .venv/.ready-* && touch $@

audit: $(TOOLS)
	.venv-tools/bin/python -m tools.vulnerabilities $(ARGS)

licences: $(READY)
	$(BIN)/python -m tools.licences

# The statement of the default settings, whatever the environment says.
conformance: $(READY)
	env -u CADNODE_CONFIG $(BIN)/cadnode conformance --out docs/conformance.md

# Checked against the schema of CycloneDX by the tool that writes it.
sbom: $(READY) $(TOOLS)
	.venv-tools/bin/cyclonedx-py environment --validate --output-reproducible --spec-version 1.6 \
	  --pyproject pyproject.toml --output-file sbom.cdx.json $(BIN)/python

# Apart from .venv: what inspects the node shall not be among what it inspects.
tools: $(TOOLS)

$(TOOLS): constraints/tools.txt $(READY)
	test -x .venv-tools/bin/python || $(PYTHON) -m venv .venv-tools
	$(BIN)/uv pip install -q --python .venv-tools/bin/python --require-hashes -r constraints/tools.txt \
	  || .venv-tools/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r constraints/tools.txt
	touch $@

MORE := $(foreach extra,openvino onnx postgresql celery s3,--extra $(extra))

lock: $(READY)
	for extra in cpu gpu; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --extra $$extra --extra train --extra demo --extra dev $(MORE) pyproject.toml \
	    -o constraints/$$extra.txt $(LOCK) || exit 1; done
	for extra in cpu gpu; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --extra $$extra --extra train $(MORE) -c constraints/$$extra.txt pyproject.toml \
	    -o constraints/run-$$extra.txt $(LOCK) || exit 1; done
	printf 'uv\nhatchling\n' | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header - -o constraints/installer.txt $(LOCK)
	printf 'pip-audit\ncyclonedx-bom[json-validation]\nhadolint-bin\n' | $(BIN)/uv pip compile -q --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - \
	  -o constraints/tools.txt $(LOCK)

clean:
	rm -rf .venv .venv-tools sbom.cdx.json demo-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
