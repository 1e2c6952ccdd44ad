# Any Node >= 20 on PATH will do for `make`: the Node that runs everything comes from the lock file.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
JEST = node --experimental-vm-modules --no-warnings node_modules/jest/bin/jest.js

.PHONY: install build test unit e2e-data lint format sim demo bench clean
.DEFAULT_GOAL := build

node_modules/.installed: package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

install: node_modules/.installed

build: install
	tsc -p tsconfig.json

unit: install
	$(JEST) --selectProjects unit $(ARGS)

lint: install
	tsc -p tsconfig.json --noEmit
	oxlint --deny-warnings
	oxfmt --check
	knip

format: install
	oxfmt

clean:
	rm -rf dist
