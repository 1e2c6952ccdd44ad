import { expect, test } from "@jest/globals";
import { resource, type MetaMasterCluster } from "../../../crds/src/index.js";
import type { LiveObject } from "../kube/objects.js";
import { invalidOf, invalidPrefix } from "./invalid.js";

function cluster(name: string, spec: object = {}, createdAt = "2026-01-01T00:00:00Z"): MetaMasterCluster {
  return resource.parse({
    apiVersion: "metamaster.io/v1alpha1",
    kind: "MetaMasterCluster",
    metadata: { name, uid: name, creationTimestamp: createdAt },
    spec: {
      bucket: { url: `s3://bucket/${name}` },
      template: { spec: { containers: [{ name: "master", image: "m" }] } },
      databases: [{ name: "meta", path: "meta" }],
      volumeClaimTemplate: { spec: { resources: { requests: { storage: "1Gi" } } } },
      ...spec,
    },
  }) as MetaMasterCluster;
}

const older = cluster("a", { bucket: { url: "s3://bucket/meta/inner/" } }, "2025-01-01T00:00:00Z");
const inner = { url: "s3://bucket/meta/inner" };
const pod = (spec: object, master: object = {}): object => ({
  template: { spec: { containers: [{ name: "master", image: "m", ...master }, { name: "web" }], ...spec } },
});
const begun = (url: string): object => ({ bootstrap: { from: { url } } });
const first = { name: "first", ports: [{ containerPort: 8400, protocol: "TCP" }] };

test.each<[string, object, RegExp | undefined, boolean]>([
  ["all is well", {}, undefined, true],
  ["another one's prefix", { bucket: inner }, /^spec\.bucket\.url .* in that of \/a: one prefix for one/, false],
  ["the prefix in another store", { bucket: { ...inner, endpoint: "http://store:9000" } }, undefined, true],
  ["begun with itself", begun("s3://bucket/meta/other/old"), /^spec\.bootstrap\.from\.url /, false],
  ["the node's network", pod({ hostNetwork: true }), /^spec\.template\.spec\.hostNetwork: .*: leave it out/, true],
  ["the pod's own network", pod({ hostNetwork: false }), undefined, true],
  [
    "the sidecar's port",
    pod({}, { ports: [{ containerPort: 8400 }] }),
    /^spec\.template\.spec, ports of the container master: .*8400/,
    true,
  ],
  [
    "the same before",
    pod({ initContainers: [first] }),
    /container first: .*another port\. Nothing is made of this spec/,
    true,
  ],
  ["another protocol", pod({}, { ports: [{ containerPort: 8400, protocol: "UDP" }] }), undefined, true],
  ["another port", pod({}, { ports: [{ containerPort: 9500, hostPort: 8400 }] }), undefined, true],
])("%s: what is wrong, and whether the prefix is its own", (_what, spec, wrong, isOwn) => {
  const one = cluster("m", { bucket: { url: "s3://bucket/meta/other" }, ...spec });
  const all = [older, one] as unknown as LiveObject[];
  const told = invalidOf(one, all);
  if (wrong === undefined) expect(told).toBeUndefined();
  else expect(told).toMatch(wrong);
  expect(invalidPrefix(one, all) === undefined).toBe(isOwn);
});
