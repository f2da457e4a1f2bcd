SHELL := /bin/bash
PYTHON := .venv/bin/python

.PHONY: help venv demo serve test test-all check docs bench chaos soak clean

help: ## Show these commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

venv: ## Create .venv with everything for development
	@scripts/venv dev

demo: ## Watch the example application hand work to a worker (ASYNCQ_URL=redis://... or amqp://... for another broker)
	@scripts/venv examples
	@$(PYTHON) -m examples.fastapi_app.demo

serve: ## The same application and worker, until Ctrl-C
	@scripts/venv examples
	@$(PYTHON) -m examples.fastapi_app.serve

test: ## Run the tests against real servers of their own (ARGS="-k name" goes to pytest)
	@scripts/test $(ARGS)

test-all: ## The same on every supported Python that is here
	@scripts/test-all $(ARGS)

check: ## Lint, format, types and floors
	@scripts/check

docs: ## Write what the documentation tells from the code
	@scripts/venv dev
	@$(PYTHON) -m scripts.brokers_page

bench: ## Measure asyncq beside its peers (ARGS go to it)
	@scripts/venv dev
	@redis="$$(scripts/redis-server-path)" && rabbitmq="$$(scripts/rabbitmq-server-path)" && \
		ASYNCQ_REDIS_SERVER="$$redis" ASYNCQ_RABBITMQ_SERVER="$$rabbitmq" $(PYTHON) -m bench $(ARGS)

chaos: ## Kill, freeze and cut off everything under load, and check (ARGS="--broker sqlite --processes 2 --seed 1")
	@scripts/venv dev
	@redis="$$(scripts/redis-server-path)" && rabbitmq="$$(scripts/rabbitmq-server-path)" && \
		ASYNCQ_REDIS_SERVER="$$redis" ASYNCQ_RABBITMQ_SERVER="$$rabbitmq" $(PYTHON) -m tests.chaos $(ARGS)

soak: ## Run at half of the peak for ten minutes, and see what grows (ARGS="--seconds 60")
	@scripts/venv dev
	@server="$$(scripts/redis-server-path)" && ASYNCQ_REDIS_SERVER="$$server" $(PYTHON) -m tests.chaos.soak $(ARGS)

clean: ## Remove what these commands made
	@rm -rf .venv .venv-* .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
