# Any Node >= 20 on PATH will do for `make`: the Node that runs everything comes with the lock file.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
JEST = node --experimental-vm-modules --no-warnings node_modules/jest/bin/jest.js --testTimeout=120000
SEEDS ?= 10000
PROVIDER ?= local

.PHONY: images kube-programs build install test test-tools unit integration kube e2e cluster sim lint format docs install.yaml demo bench clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo    three members, a killed primary, a switchover, a new member, a restore: live, in under a minute"
	@echo "make test    every test that needs no Kubernetes (installs what it needs)"
	@echo "make kube    tests against a real Kubernetes API server (needs Go; ten minutes the first time)"
	@echo "make e2e     PROVIDER=local|kind tests on a whole Kubernetes cluster (local: root on Linux)"
	@echo "make cluster that cluster by hand, with the images of the quick start on its nodes, until Ctrl-C (NODES=3)"
	@echo "make images  an archive of the product's image and the example master's, without Docker"
	@echo "make lint    types, oxlint, format, dead exports"
	@echo "make sim     SEEDS=n whole clusters in the seeded simulator"
	@echo "make bench   the performance table, as ratios"
	@echo "make docs    regenerate docs/reference, the CustomResourceDefinition and the chart's copy of it"
	@echo "make install.yaml  regenerate it from the chart (needs Go)"

node_modules/.installed: package-lock.json
# Not `npm ci`: it refuses a lock file that lacks optional packages of other platforms, and registries may not serve all of them.
	@npm install --no-save --no-audit --no-fund --loglevel=error
	@touch $@

install: node_modules/.installed

build: install
	@tsc -p tsconfig.json

# Debian packages and object-store servers, only what is missing, before the tests run.
test-tools: build
	@node dist/e2e/tools/main.js

test: test-tools
	@node scripts/test.js

unit: install
	@$(JEST) --selectProjects=unit $(ARGS)

# Real RocksDB and real object stores.
integration: test-tools
	@$(JEST) --selectProjects=e2e --runInBand $(ARGS)

# A real Kubernetes API server on loopback: needs no root, but Go, and ten minutes the first time.
kube: build
	@node dist/e2e/cluster/main.js kube
	@$(JEST) --selectProjects=kube --runInBand $(ARGS)

# What both need, by whatever time of the processors nobody else wants.
kube-programs: build
	@chrt --idle 0 node dist/e2e/cluster/main.js kube

# A whole Kubernetes cluster, on this machine (root on Linux) or with PROVIDER=kind in Docker: e2e/cluster/README.md.
e2e: test-tools
	@PROVIDER=$(PROVIDER) node dist/e2e/cluster/main.js cluster
	@node dist/e2e/scenarios/save-images.js .cache/images
	@rm -rf .cache/e2e-times
	@PROVIDER=$(PROVIDER) METAMASTER_IMAGES=.cache/images/images.tar node scripts/test.js --only kube,cluster; ended=$$?; node dist/e2e/scenarios/times.js; exit $$ended

# The local cluster for a person to try things on, with a kubeconfig: until Ctrl-C.
cluster: build
	@node dist/e2e/servers/main.js
	@node dist/e2e/cluster/by-hand.js

# The product's image and the example master's in one archive, made without Docker: .cache/images/images.tar.
images: build
	@node dist/e2e/scenarios/save-images.js .cache/images

sim: build
	@node dist/sidecar/sim/main.js --seeds $(SEEDS) --parallel 2 $(ARGS)

lint: install
	@tsc -p tsconfig.json --noEmit
	@oxlint --deny-warnings
	@oxfmt --check
	@knip

format: install
	@oxfmt

docs: build
	@node dist/sidecar/src/surface/docs/main.js
	@node dist/crds/src/main.js
	@node dist/operator/src/docs.js

# The chart for those who don't use helm.
install.yaml: build
	@node dist/e2e/chart/main.js

demo: build
	@node dist/examples/demo/main.js

bench: test-tools
	@node dist/bench/src/main.js $(ARGS)

clean:
	rm -rf dist .cache
