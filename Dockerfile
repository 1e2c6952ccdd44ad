# syntax=docker/dockerfile:1
# One image for the operator and the sidecar: Node, what was compiled, and the packages that it needs. No shell, no root, nothing is written but to /tmp and mounted volumes.
#
#   docker build -t metamaster --build-arg VERSION=$(git describe --always) .
#
# It is laid out by scripts/app-tree.js; the end-to-end tests make the same image without Docker (e2e/scenarios/images.ts).
ARG NODE_VERSION=24.21.0

FROM node:${NODE_VERSION}-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
COPY crds/package.json crds/
COPY operator/package.json operator/
COPY sidecar/package.json sidecar/
COPY examples/kv-master/package.json examples/kv-master/
COPY bench/package.json bench/
COPY e2e/package.json e2e/
# Not `npm ci`: it refuses a lock file that lacks optional packages of other platforms.
# No scripts: nothing of what ends up in the image is made by one.
RUN npm install --no-save --no-audit --no-fund --loglevel=error --ignore-scripts
COPY . .
RUN npx tsc -p tsconfig.json && node scripts/app-tree.js /out sidecar operator crds

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=dev
LABEL org.opencontainers.image.title="MetaMaster" \
      org.opencontainers.image.description="Operator and sidecar that make RocksDB-backed metadata masters highly available on Kubernetes and a bucket" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /usr/local/bin/node /bin/node
COPY --from=build /out/ /
# PATH and METAMASTER_CONFIG are for people: `kubectl exec POD -c metamaster -- metamaster status`. The two of malloc's take about 20 MB off the resident memory.
ENV PATH=/bin:/app/sidecar/bin \
    METAMASTER_CONFIG=/etc/metamaster/metamaster.yaml \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=1048576
WORKDIR /app
USER 65532:65532
# The sidecar's command line; the operator is ["/bin/node", "/app/dist/operator/src/main.js"].
ENTRYPOINT ["/bin/node", "/app/sidecar/bin/metamaster.js"]
