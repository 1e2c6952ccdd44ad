import { expect, test } from "@jest/globals";
import { resource, type MetaMasterCluster } from "../../../crds/src/index.js";
import type { Member } from "../decisions/members.js";
import { decide, decideStanding } from "./decide.js";
import type { Observed } from "./observe.js";

function cluster(changes: object): MetaMasterCluster {
  return resource.parse({
    apiVersion: "metamaster.io/v1alpha1",
    kind: "MetaMasterCluster",
    metadata: { name: "m" },
    spec: {
      bucket: { url: "s3://bucket/m" },
      template: { spec: { containers: [{ name: "master", image: "m" }] } },
      databases: [{ name: "meta", path: "meta" }],
      volumeClaimTemplate: { spec: { resources: { requests: { storage: "1Gi" } } } },
      ...changes,
    },
  }) as MetaMasterCluster;
}

const set = {
  metadata: { generation: 2 },
  spec: { replicas: 3 },
  status: { observedGeneration: 2, updateRevision: "new" },
};

const well = (ordinal: number, role: Member["role"], more: Partial<Member> = {}): Observed => ({
  pod: {},
  document: undefined,
  slot: 9,
  failing: undefined,
  member: {
    name: `m-${ordinal}`,
    ordinal,
    role,
    mayServe: false,
    mayFollow: false,
    troubled: false,
    lagSeconds: 0,
    revision: "new",
    deleting: false,
    cordoned: false,
    nodeSilent: false,
    ...more,
  },
});

const old = { revision: "old" };
const three = [well(0, "Primary"), well(1, "Standby"), well(2, "Standby")];
const drained = [well(0, "Primary", { cordoned: true }), ...three.slice(1)];
const alone = [well(0, "Primary", { cordoned: true })];
const broken = [well(0, "Primary", old), well(1, "Standby", old), well(2, "Syncing", old)];
const late = [well(0, "Primary", old), well(1, "Standby", old), well(2, "Standby", old)];

test.each<[string, object, readonly Observed[], string, string]>([
  ["nothing is to be done", {}, three, "Nothing", "Nothing"],
  ["more members are asked for", { replicas: 5 }, three, "SetReplicas", "Nothing"],
  ["fewer are", { replicas: 1 }, three, "SetReplicas", "Nothing"],
  ["none is", { replicas: 0 }, three, "SetReplicas", "Nothing"],
  ["another primary is", { switchover: { target: "m-2" } }, three, "Switchover m-2", "Nothing"],
  ["the primary's node is drained", {}, drained, "Switchover m-1", "Switchover m-1"],
  ["the only member's is", { replicas: 3 }, alone, "Wait", "Wait"],
  ["members of another template are well", {}, late, "DeletePod m-2", "Nothing"],
  ["one of them is of no use", {}, broken, "DeletePod m-2", "DeletePod m-2"],
  ["... and a person replaces pods", { update: { policy: "OnDelete" } }, broken, "Nothing", "Nothing"],
])("%s: what is done with a valid spec, and without one", (_what, changes, members, valid, standing) => {
  const of = cluster(changes);
  const said = [decide(of, members, set), decideStanding(of, members, set)].map(({ do: what, ...rest }) =>
    [what, Reflect.get(rest, "target") ?? Reflect.get(rest, "pod")].join(" ").trim(),
  );
  expect(said).toEqual([valid, standing]);
});

test("without a StatefulSet a drained primary hands over all the same, and nothing else is done", () => {
  expect(decideStanding(cluster({}), drained, undefined)).toMatchObject({ do: "Switchover", target: "m-1" });
  expect(decideStanding(cluster({}), broken, undefined)).toEqual({ do: "Nothing" });
});
