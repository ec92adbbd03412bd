# Everything a newcomer needs: `make demo` shows it, `make test` proves it. Both set themselves up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := 0.13.9

.PHONY: help demo test lint fuzz docs bench lock image testbed-up testbed-down testbed-status testbed-build testbed-test clean

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

$(VENV)/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Choose another with PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV)
	$(BIN)/uv pip install --quiet --constraint requirements.lock --editable '.[alerts,sandbox,dev,docs]'
	@touch $@

demo: $(VENV)/ready  ## Watch a preview take 1 % of the requests, be judged, and be promoted or reverted
	$(BIN)/pipeline-step sandbox demo

test: $(VENV)/ready  ## Run the unit, sandbox and contract tests
	$(BIN)/pytest -n 4 --dist loadfile -m "not testbed" $(ARGS)

lint: $(VENV)/ready  ## Run the checkers alone, and format
	$(BIN)/ruff format pipeline_step tests benchmarks docs
	$(BIN)/ruff check --fix pipeline_step tests benchmarks docs
	$(BIN)/mypy

docs: $(VENV)/ready  ## Build the documentation's site into dist/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

SECONDS_EACH ?= 60
fuzz: $(VENV)/ready  ## Search for inputs that break: comments, answers, owners' files (SECONDS_EACH=60)
	$(BIN)/uv pip install --quiet --target .fuzz atheris
	PYTHONPATH=.fuzz $(BIN)/python -m tests.fuzz $(SECONDS_EACH)

bench: $(VENV)/ready  ## Measure, and write docs/benchmarks.md
	$(BIN)/python -m benchmarks

lock: $(VENV)/ready  ## Bring requirements.lock up to date with pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header pyproject.toml --output-file requirements.lock

testbed-up testbed-down testbed-status: testbed-%: $(VENV)/ready  ## A real one-node Kubernetes with Istio, on this machine (root)
	$(BIN)/python -m tests.testbed $*

testbed-build: $(VENV)/ready  ## Build all parts of the real cluster and the image, and see that it leaves nothing behind
	$(BIN)/python -m tests.testbed build --all
	$(BIN)/pytest tests/testbed/test_leftovers.py tests/image

testbed-test: $(VENV)/ready  ## Start the real cluster, run the tests that need it, and stop it
	$(BIN)/python -m tests.testbed up
	$(BIN)/python -m tests.testbed run -- $(BIN)/pytest -m testbed $(ARGS); \
	  code=$$?; $(BIN)/python -m tests.testbed down; exit $$code

# BASE, HELM, EXTRAS, VERSION, PLATFORM, BUILDER and IMAGE_FLAGS are told in docs/image.md.
IMAGE ?= localhost/pipeline-step
TARGET ?= step
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
image:  ## Build the image with docker, podman or buildah (TARGET=with-helm adds Helm)
	@builder=$(BUILDER); test -n "$$builder" || builder=$$(docker info >/dev/null 2>&1 && echo docker) || \
	  builder=$$(command -v podman || command -v buildah) || { echo "make image needs docker (running), podman or buildah; none is there" >&2; exit 2; }; \
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)}; export SOURCE_DATE_EPOCH; \
	case $$builder in docker) dated= ;; *) dated="--timestamp $$SOURCE_DATE_EPOCH" ;; esac; \
	set -x; $$builder build --target $(TARGET) --tag $(IMAGE):$(VERSION) $$dated --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) $(if $(BASE),--build-arg BASE=$(BASE)) \
	  $(if $(HELM),--build-arg HELM=$(HELM)) $(if $(EXTRAS),--build-arg EXTRAS=$(EXTRAS)) $(if $(PLATFORM),--platform $(PLATFORM)) $(IMAGE_FLAGS) .

clean:  ## Remove what was installed and built here
	rm -rf $(VENV) .fuzz dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
