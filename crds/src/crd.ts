import { GROUP, KIND, NAME_MAX, PLURAL, SHORT_NAME, VERSION } from "./resource.js";
import { spec } from "./spec.js";
import { status } from "./status.js";
import { structural, type Structural } from "./structural.js";

const columns = [
  { name: "Primary", type: "string", jsonPath: ".status.primary", description: "The primary's pod." },
  {
    name: "Ready",
    type: "integer",
    jsonPath: ".status.readyReplicas",
    description: "Members that are primary or follow it.",
  },
  { name: "Desired", type: "integer", jsonPath: ".spec.replicas", description: "Members that are wanted." },
  { name: "Lag", type: "string", jsonPath: ".status.lag", description: "How far durability is behind." },
  { name: "Epoch", type: "integer", jsonPath: ".status.epoch", description: "Of the primary." },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  { name: "Status", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].reason', priority: 1 },
  { name: "Bucket", type: "string", jsonPath: ".spec.bucket.url", priority: 1 },
];

/** Of the whole resource. */
export function openApiSchema(): Structural {
  return {
    type: "object",
    description: "A RocksDB-backed master, highly available on a bucket.",
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: structural(spec),
      status: structural(status),
    },
    "x-kubernetes-validations": [
      {
        rule: `size(self.metadata.name) <= ${NAME_MAX}`,
        message: `the name may have ${NAME_MAX} characters at most: names of pods and services are made of it`,
      },
      {
        rule: "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message: "the name must be a DNS label that begins with a letter: services are named by it",
      },
    ],
  };
}

/** The CustomResourceDefinition as it is applied. */
export function customResourceDefinition(): Record<string, unknown> {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${PLURAL}.${GROUP}`, annotations: { "helm.sh/resource-policy": "keep" } },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: {
        kind: KIND,
        listKind: `${KIND}List`,
        plural: PLURAL,
        singular: KIND.toLowerCase(),
        shortNames: [SHORT_NAME],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          additionalPrinterColumns: columns,
          subresources: {
            status: {},
            scale: {
              specReplicasPath: ".spec.replicas",
              statusReplicasPath: ".status.replicas",
              labelSelectorPath: ".status.selector",
            },
          },
          schema: { openAPIV3Schema: openApiSchema() },
        },
      ],
    },
  };
}
