# What can be done with a checkout. `make` alone lists it. Needs git, make, Python 3.11 or later; no root.
# The environment is .venv; another Python: make PYTHON=python3.13 …

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check install
TRIAL  := $(BIN)/python -m twisted.trial
NODE   := $(VENV)/interop
ROUNDS := 50
STORM  := 300

# The harness that measures mail servers beside each other; which of its scenarios; seconds of a run.
BENCH     ?= ../shared/bench/bench.py
SCENARIOS ?= S1 S2 S3 S4 S5 S6
LENGTH    ?= 3

.PHONY: help demo run test check cover interop soak attack bench profile logins clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/run.stamp ## play the story: two daemons, five messages, every step shown and checked (ten seconds)
	@$(BIN)/python -m tests.system.demo

run: $(VENV)/run.stamp ## keep the pair up on free ports, with lines to try; Ctrl-C stops it
	@$(BIN)/python -m tests.system.run

test: $(VENV)/dev.stamp ## every test
	$(TRIAL) -j2 tests

check: $(VENV)/dev.stamp ## format, lint, types, and which module may import which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TRIAL) tests.test_layers

cover: $(VENV)/dev.stamp ## every test, and the lines that none of them ran
	$(BIN)/coverage erase
	$(BIN)/coverage run -m twisted.trial tests
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

interop: $(VENV)/interop.stamp ## clients and servers of others against the pair; what is not installed is told
	@[ -d $(NODE)/node_modules/nodemailer ] || ! command -v npm >/dev/null || \
	    npm install --loglevel=error --no-audit --no-fund --prefix $(NODE) nodemailer@10 || \
	    echo "npm cannot fetch nodemailer: it is left out"
	@$(BIN)/python -m tests.interop

soak: $(VENV)/run.stamp ## both killed fifty times under load (ROUNDS=), then minutes of bad weather in memory (STORM=)
	@$(BIN)/python -m tests.system.soak $(ROUNDS)
	@$(BIN)/python -m tests.world.soak $(STORM)

attack: $(VENV)/run.stamp ## eighteen attacks on the SMTP port: memory, and whether the next client is served
	@$(BIN)/python -m tests.system.attack

bench: $(VENV)/run.stamp ## CPU and messages a second beside Postfix, in one sitting (root; a quiet machine; 15 minutes)
	@test -f $(BENCH) || { echo "make bench: no harness at $(BENCH). make bench BENCH=/path/to/bench.py"; exit 1; }
	@rm -f bench/results.jsonl
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PYTHON) $(BENCH) run --peers bench -p postfix epost -s $(SCENARIOS) \
	    --seconds $(LENGTH) --fresh-fs 4G -o bench/results.jsonl
	@$(PYTHON) $(BENCH) ratios bench/results.jsonl --of epost --to postfix

profile: $(VENV)/run.stamp ## what a message costs inside, how that grows, and where the time goes
	@$(BIN)/python -m bench.inside
	@$(BIN)/python -m bench.inside growth
	@$(BIN)/python -m bench.inside profile

logins: $(VENV)/run.stamp ## what 1,000 logins in a minute cost the mail, and an idle TLS connection (two minutes)
	@$(BIN)/python -m bench.logins

clean: ## remove what builds and tests left; the environment stays (rm -r .venv takes it away)
	rm -rf build dist *.egg-info _trial_temp* .coverage* .mypy_cache .ruff_cache .hypothesis
	rm -f twisted/plugins/dropin.cache
	find bench epost tests twisted -name __pycache__ -prune -exec rm -rf {} +

# What the daemons need at run time; enough for demo and run.
$(VENV)/run.stamp: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "epost needs Python 3.11 or later; '$(PYTHON)' is not. Another one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) (once; it fetches Twisted from PyPI) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -e .
	@touch $@

# And what its developers use.
$(VENV)/dev.stamp: $(VENV)/run.stamp
	@echo "Adding the tools of development to $(VENV) (once) …"
	@$(PIP) -e '.[dev]'
	@touch $@

# And the clients that come from PyPI.
$(VENV)/interop.stamp: $(VENV)/run.stamp
	@$(PIP) -e '.[interop]'
	@touch $@
