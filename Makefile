# Commands for development; `make help` lists them. Each target sets up what it needs.
PYTHON ?= python3.11
BIN := .venv/bin
# Processes of `make test`. Tests wait for a third of their time, so three keep two cores busy.
JOBS ?= 3
ROUNDS ?= 200
SECONDS ?= 600
CONFIGS ?= 500

.DEFAULT_GOAL := help
.PHONY: load soak help setup pages redis-server noetl-cli chromium dev test test-fast attack transports crash scaling fuzz fuzz-one e2e contract lint format bench bench-graphql bench-workers bench-idle bench-sessions bench-redis bench-bridge bench-live profile docs lock wheel sbom audit clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.ready pages  ## create .venv from the lock file, and fetch the assets of GraphiQL

.venv/.ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is required: install it, or run make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up .venv (once; under a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

pages: node_modules/.ready  ## copy the assets of GraphiQL from the npm packages to the folder that the gateway serves

node_modules/.ready: package.json package-lock.json scripts/copy_pages.py
	@scripts/need.sh node:nodejs npm:npm && npm ci --silent --no-audit --no-fund && $(PYTHON) scripts/copy_pages.py && touch $@ || \
	  echo "without the npm packages, the GraphiQL page shows how to install them, and the audits of GraphQL over HTTP and the clients of subscriptions and of Auth0 can't run" >&2

dev: setup  ## run the gateway and both sandboxes until ctrl-C, and print commands to try
	@$(BIN)/noetl-edge dev

test: setup redis-server noetl-cli chromium  ## run all tests
	@$(BIN)/python -m pytest -n $(JOBS) -q

noetl-cli: setup  ## install NoETL's command line in var/, which tests run
	@$(BIN)/python -c "from tests.contract.cli import set_up; set_up()" || echo "without it, the tests of NoETL's command line fail" >&2

chromium:  # tests of pages and of clients for browsers are left out without it
	@scripts/need.sh chromium:chromium || echo "the tests in a browser are left out" >&2

redis-server:  # the tests of the redis store use Valkey, from a package of Python, if Redis can't be installed
	@scripts/need.sh redis-server:redis-server || echo "the tests of the redis store use Valkey instead" >&2

test-fast: setup  ## run unit and property tests, for use during development
	@$(BIN)/python -m pytest -n $(JOBS) -q tests/unit tests/property -m "not slow"

attack: setup  ## run the attacks of docs/threat-model.md, and print one table
	@$(BIN)/python -m pytest -n $(JOBS) -q tests/attack

transports: setup  ## compare the gateway with and without the fast path on random CONFIGS=500 times 40 requests
	@nice $(BIN)/python -m tests.transports.run --configs $(CONFIGS) $(if $(SEED),--seed $(SEED))

crash: setup  ## kill -9 while users sign in and out, ROUNDS=200 times, and check that nothing answered is lost
	@$(BIN)/python -m tests.integration.crash $(ROUNDS)

scaling: setup  ## three gateways with one Redis, and then one Valkey, under load, while a gateway and the server are killed
	@scripts/need.sh redis-server:redis-server
	@nice $(BIN)/python -m tests.scaling.run $(if $(SERVER),--server $(SERVER)) --seconds $(if $(filter command line,$(origin SECONDS)),$(SECONDS),28)

fuzz: setup var/fuzz/.ready  ## fuzz every parser for SECONDS=600 each, or one TARGET=heads; SEED=1 repeats a run
	@nice -n 19 $(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(if $(TARGET),--target $(TARGET)) $(if $(SEED),--seed $(SEED))

fuzz-one: setup  ## run one FILE with one fuzz TARGET, to reproduce a finding
	@$(BIN)/python -m tests.fuzz.one $(TARGET) $(FILE)

var/fuzz/.ready: tests/fuzz/requirements.txt .venv/.ready
	@mkdir -p $(@D)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

e2e: setup  ## run the API guide end to end, against the sandboxes; STORE=redis or memory for another session store
	@$(BIN)/python -m tests.e2e.run $(if $(STORE),--store $(STORE))

contract: setup  ## hold the gateway to both real NoETL servers and both sandboxes; URL=http://… for one server, for tests
	@nice $(BIN)/python -m tests.contract.run $(if $(URL),--url $(URL)) $(if $(SERVERS),--servers $(SERVERS)) $(CONTRACT)

lint: .venv/.ready  ## run ruff, mypy --strict and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: .venv/.ready  ## format the code with ruff
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup  ## measure, compared with nginx; BENCH="quick --only mix" for an overview; also bench-graphql, -workers, -idle, -sessions, -redis, -bridge
	@scripts/need.sh nginx:nginx-light wrk:wrk
	@$(BIN)/python -m bench $(BENCH)

bench-graphql: bench/graphql/node_modules/.ready
bench-bridge: setup
	@scripts/need.sh nginx:nginx-light wrk:wrk
	@$(BIN)/python -m bench run --only bridge --only bridge_rust $(BENCH)

bench-live: setup  ## 10,000 open event streams in one worker: memory, latency, CPU; BENCH="--streams 1000"
	@scripts/need.sh nginx:nginx-light
	@$(BIN)/python -m bench.live $(BENCH)

bench-graphql bench-workers bench-idle bench-sessions: bench-%: setup
	@scripts/need.sh nginx:nginx-light wrk:wrk $(if $(filter graphql,$*),node:nodejs)
	@$(BIN)/python -m bench run --only $* $(BENCH)

bench-redis: setup
	@scripts/need.sh nginx:nginx-light wrk:wrk redis-server:redis-server
	@$(BIN)/python -m bench run --only redis --only redis_many_users $(BENCH)

bench/graphql/node_modules/.ready: bench/graphql/package.json bench/graphql/package-lock.json
	@scripts/need.sh node:nodejs npm:npm
	@cd bench/graphql && npm ci --silent --no-audit --no-fund && touch node_modules/.ready

SCENARIO ?= monday-morning
load: setup  ## run a load SCENARIO=… with USERS=… against a new stack, or the gateway at URL=…; WORKERS=4 Locust processes
	@$(BIN)/python -m load.run --web --scenario $(SCENARIO) $(if $(USERS),--users $(USERS)) $(if $(URL),--url $(URL)) \
	  $(if $(AUTH0),--auth0 $(AUTH0)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(DURATION),--duration $(DURATION)) $(LOAD)

soak: setup  ## work for an hour with faults (or DURATION=8h), and check that nothing grows
	@nice $(BIN)/python -m load.run --web --scenario soak $(if $(USERS),--users $(USERS)) $(if $(DURATION),--duration $(DURATION)) $(LOAD)

profile: setup  ## profile the gateway under load: a flame graph, or a list with BENCH="--only status --top"
	@scripts/need.sh nginx:nginx-light wrk:wrk
	@$(BIN)/python -m bench profile $(BENCH)

docs: .venv/.ready  ## generate the reference pages and docs/gateway.schema.json from the code
	@$(BIN)/python -m scripts.reference

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --custom-compile-command "make lock"

lock: .venv/.ready  ## update the lock files from pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(COMPILE) --all-extras --upgrade -o requirements.lock pyproject.toml
	@$(COMPILE) --constraint requirements.lock -o requirements-runtime.lock pyproject.toml
	@$(COMPILE) --constraint requirements.lock -o requirements-build.lock scripts/supply/build.in
	@$(COMPILE) --upgrade -o scripts/supply/requirements.txt scripts/supply/requirements.in

var/supply/.ready: requirements-runtime.lock scripts/supply/requirements.txt
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)/tools && $(PYTHON) -m venv --without-pip $(@D)/runtime
	@$(@D)/tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r scripts/supply/requirements.txt
	@$(@D)/tools/bin/python -m pip --python $(@D)/runtime/bin/python install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements-runtime.lock
	@touch $@

sbom: var/supply/.ready  ## write dist/noetl-edge.cdx.json: the software bill of materials, in CycloneDX
	@mkdir -p dist
	@var/supply/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --spec-version 1.6 --output-format JSON --output-file dist/noetl-edge.cdx.json var/supply/runtime/bin/python
	@echo "written: dist/noetl-edge.cdx.json"

audit: sbom  ## check the dependencies for known vulnerabilities and licences
	@rm -f var/supply/audit.json
	@var/supply/tools/bin/pip-audit --requirement requirements-runtime.lock --require-hashes --disable-pip \
	  --progress-spinner off --format json --output var/supply/audit.json 2>var/supply/audit.log || test -s var/supply/audit.json || \
	  { cat var/supply/audit.log >&2; exit 1; }
	@$(PYTHON) scripts/supply/check.py dist/noetl-edge.cdx.json var/supply/audit.json

wheel: setup  ## build dist/noetl_edge-*.whl
	@rm -rf build
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .

clean:  ## remove the files that setup and the tests created
	rm -rf .venv node_modules build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis proxy/graphql/assets
