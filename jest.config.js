/**
 * `unit` stands beside the code and needs nothing; `e2e` needs real RocksDB and real object stores; `kube` (x.kube.test.ts, beside the code
 * too) needs a real Kubernetes API server; `cluster` needs a whole Kubernetes cluster.
 */
const common = {
  testEnvironment: "node",
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { target: "es2024", parser: { syntax: "typescript" } }, module: { type: "es6" } },
    ],
  },
  moduleNameMapper: { "^(\\.{1,2}/.*)\\.js$": "$1" },
  modulePathIgnorePatterns: ["<rootDir>/dist/", "<rootDir>/.cache/"],
};

const kube = "[./]kube\\.test\\.ts$";
const cluster = "[./]cluster\\.test\\.ts$";

export default {
  projects: [
    {
      ...common,
      displayName: "unit",
      testMatch: [
        "<rootDir>/crds/**/*.test.ts",
        "<rootDir>/operator/**/*.test.ts",
        "<rootDir>/sidecar/**/*.test.ts",
        "<rootDir>/examples/**/*.test.ts",
      ],
      testPathIgnorePatterns: ["/node_modules/", kube],
    },
    {
      ...common,
      displayName: "e2e",
      testMatch: ["<rootDir>/e2e/**/*.test.ts"],
      testPathIgnorePatterns: ["/node_modules/", kube, cluster],
    },
    { ...common, displayName: "kube", testRegex: kube },
    { ...common, displayName: "cluster", testRegex: cluster },
  ],
};
