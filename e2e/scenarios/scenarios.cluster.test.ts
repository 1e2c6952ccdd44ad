import { expect } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../cluster/cluster.js";
import { waitFor } from "../cluster/wait.js";
import { secretKey, type StoreServer } from "../servers/server.js";
import { Client, writing } from "./client.js";
import { keepFigures } from "./figures.js";
import { killIn } from "./kills.js";
import { newMember, sidecarMegabytes } from "./member-figures.js";
import { installOperator, Meta, operatorMetrics, PORT, putSecret } from "./product.js";
import { stage } from "./stage.js";

const WAIT_MS_MAX = 240_000;
const LEASE_MS = 6000;
const AWAY_MS = 120_000;
const MANY = 300;
const MANY_MS_MAX = 600_000;
/** All of them are megabytes. */
const MANY_LOOK_MS = 1000;
const SETTLE_MS = 10_000;
const QUIET_MS = 20_000;
const TAIL = "held-back-on-the-old-disk";
const PUT_MS_MAX = 1500;

let cluster: Cluster;
let store: StoreServer;
let meta: Meta;

const on = stage(3, async (up) => {
  ({ cluster, store } = up);
  await installOperator(cluster);
  meta = await Meta.make(cluster, store, "meta");
});

/** Of the resources and all that the operator makes for them. */
async function versionsOfAll(): Promise<ReadonlyMap<string, string>> {
  const kinds = "mmc,statefulsets,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets";
  const each = '{range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{"\\n"}{end}';
  const lines = (await cluster.kubectl(["get", kinds, "-o", `jsonpath=${each}`])).trim().split("\n");
  return new Map(lines.map((line) => line.split(" ") as [string, string]));
}

/** Requests of the operator to the API server between two looks at its metrics, by labels; those that grew. */
function requestsBetween(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): Readonly<Record<string, number>> {
  const name = "metamaster_operator_api_requests_total";
  const all = [...after].filter(([series]) => series.startsWith(name));
  if (all.length === 0) throw new Error(`the operator has no ${name}`);
  const grown = all.map(([series, count]) => [series.slice(name.length), count - (before.get(series) ?? 0)] as const);
  return Object.fromEntries(grown.filter(([, count]) => count > 0));
}

async function putThrough(address: string, key: string): Promise<number> {
  const signal = AbortSignal.timeout(PUT_MS_MAX);
  const answer = await fetch(`http://${address}:${PORT}/kv/${key}`, { method: "PUT", body: key, signal });
  if (answer.status !== 200) throw new Error(`not acknowledged: HTTP ${answer.status}`);
  return answer.status;
}

/** Is it in a file that the member put aside? Its image has no shell. */
async function quarantined(pod: string, key: string): Promise<boolean> {
  const program = `
    const { readdirSync, readFileSync, statSync } = require("node:fs");
    const root = "/data/.metamaster/quarantine/";
    const files = readdirSync(root, { recursive: true }).filter((name) => statSync(root + name).isFile());
    console.log(files.some((name) => readFileSync(root + name).includes(${JSON.stringify(key)})));`;
  const said = await cluster.kubectl(["exec", pod, "-c", "metamaster", "--", "/bin/node", "-e", program]);
  return said.trim() === "true";
}

function nodeOf(name: string): ReturnType<Cluster["node"]> {
  for (const index of [1, 2, 3]) if (cluster.node(index).name === name) return cluster.node(index);
  throw new Error(`there is no node ${name}`);
}

async function primaryNode(): Promise<{ readonly primary: string; readonly node: ReturnType<Cluster["node"]> }> {
  const primary = await meta.primary();
  return { primary, node: nodeOf((await meta.pods()).get(primary)?.node ?? "") };
}

on("quick start: from an empty cluster to three members, with true columns and conditions", async () => {
  await meta.apply();
  const primary = await meta.settled(3);
  expect(await cluster.kubectl(["get", "mmc", "meta", "--no-headers"])).toMatch(
    new RegExp(`^meta +${primary} +3 +3 +<1s +1 `),
  );
  const conditions = ["Ready", "PrimaryElected", "Replicating", "BucketReachable", "Progressing", "Degraded"];
  const found = await Promise.all(conditions.map((type) => meta.condition(type)));
  expect(found).toEqual([
    "True AllMembersReady",
    "True Elected",
    "True Following",
    "True Reachable",
    "False Stable",
    "False AsExpected",
  ]);
  await writing(meta, "quick start", async () => {});
});

on("scaled 3 -> 5 -> 2 -> 1 -> 0 -> 3: who stays is not restarted, and no row is lost", async () => {
  const client = new Client(meta);
  try {
    await client.writes();
    for (const replicas of [5, 2, 1]) {
      const before = await meta.pods();
      const was = await meta.primary();
      await cluster.kubectl(["scale", "mmc", "meta", `--replicas=${replicas}`]);
      await meta.settled(replicas);
      const after = await meta.pods();
      const now = await meta.primary();
      const added = [...after.keys()].filter((name) => !before.has(name));
      if (added.length > 0) {
        const members = await Promise.all(added.map((name) => newMember(meta, name)));
        await keepFigures("new members", { members });
        // From the bucket, never from another member.
        expect(members.map(({ disk }) => disk)).toEqual(added.map(() => "restored"));
      }
      for (const [name, { uid }] of after) {
        // A switchover replaces the pod of the primary before.
        if (before.has(name) && !(name === was && was !== now))
          expect([name, uid]).toEqual([name, before.get(name)?.uid]);
      }
      await client.writes();
    }
    await cluster.kubectl(["scale", "mmc", "meta", "--replicas=0"]);
    await waitFor("no pod is left", WAIT_MS_MAX, async () => ((await meta.pods()).size === 0 ? true : undefined));
    await meta.settled(0);
    await cluster.kubectl(["scale", "mmc", "meta", "--replicas=3"]);
    await meta.settled(3);
    await client.writes();
    expect(await client.missing("scale")).toEqual([]);
  } finally {
    await client.end();
  }
});

on("the master is killed: it is started in place, in the same epoch", async () => {
  await writing(meta, "master killed", async (client) => {
    const primary = await meta.primary();
    await killIn(cluster, primary, "master");
    await client.writes();
    expect(await meta.primary()).toBe(primary);
  });
});

on("the sidecar is killed: no two masters, and it goes on", async () => {
  await writing(meta, "sidecar killed", async (client) => {
    const primary = await meta.primary();
    await killIn(cluster, primary, "sidecar");
    await client.writes();
  });
  await meta.settled(3);
});

on("the primary's pod is deleted, then another one by force", async () => {
  await writing(meta, "pod deleted", async (client) => {
    const first = await meta.primary();
    await cluster.kubectl(["delete", "pod", first, "--wait=false"]);
    const second = await meta.primaryOtherThan(first);
    await client.writes();
    await cluster.kubectl(["delete", "pod", second, "--force", "--grace-period=0"]);
    await meta.primaryOtherThan(second);
    await client.writes();
  });
  await meta.settled(3);
});

on("a declared switchover", async () => {
  await writing(meta, "switchover", async (client) => {
    const primary = await meta.primary();
    const target = primary === "meta-0" ? "meta-1" : "meta-0";
    await meta.apply({ switchover: { target, maxLag: "10s" } });
    await waitFor(`${target} is primary`, WAIT_MS_MAX, async () =>
      (await meta.primary()) === target ? true : undefined,
    );
    await client.writes();
    await meta.apply();
  });
  await meta.settled(3);
});

on("a change of the spec is rolled out: standbys first, and every pod is a new one", async () => {
  const before = await meta.pods();
  await writing(meta, "rollout", async () => {
    await meta.apply({ checkpoint: { interval: "1m" } });
    await waitFor("all pods are new", WAIT_MS_MAX, async () => {
      const after = await meta.pods();
      return after.size === 3 && [...after].every(([name, { uid }]) => uid !== before.get(name)?.uid)
        ? true
        : undefined;
    });
    await meta.settled(3);
  });
});

on("the primary's node is drained: a switchover first, then the eviction goes through", async () => {
  const { primary, node } = await primaryNode();
  await writing(meta, "drain", async () => {
    await cluster.kubectl([
      "drain",
      node.name,
      "--ignore-daemonsets",
      "--delete-emptydir-data",
      "--timeout=180s",
      `--pod-selector=metamaster.io/cluster=meta`,
    ]);
    expect(await meta.primary()).not.toBe(primary);
  });
  await cluster.kubectl(["uncordon", node.name]);
  await meta.settled(3);
});

on(
  "the primary's whole pod stands still for several leases: another one leads, and what it had not shipped is never acknowledged, but kept",
  async () => {
    const [old] = await meta.labelled();
    const { name: primary, address } = old ?? { name: "", address: "" };
    await writing(meta, "frozen", async (client) => {
      // Without the bucket it is written on its disk, and not acknowledged.
      await store.kill();
      await expect(putThrough(address, TAIL)).rejects.toThrow();
      const frozen = await cluster.freezePod("default", primary);
      try {
        await store.restart();
        await meta.untilAnotherThan(primary);
        await client.writes();
        await sleep(2 * LEASE_MS);
      } finally {
        await frozen.thaw();
      }
      await client.writes();
      await expect(putThrough(address, "late")).rejects.toThrow();
      await meta.settled(3);
      expect((await client.rows()).has(TAIL)).toBe(false);
    });
    expect(await quarantined(primary, TAIL)).toBe(true);
  },
);

on("the primary's node is cut off: another one leads once the lease is over; back again it follows", async () => {
  const { primary, node } = await primaryNode();
  await writing(meta, "node cut off", async (client) => {
    await node.cut();
    try {
      await meta.untilAnotherThan(primary);
      await client.writes();
    } finally {
      await node.join();
    }
  });
  await meta.settled(3);
});

on("the primary is cut off from the API server only", async () => {
  const { primary, node } = await primaryNode();
  await writing(meta, "cut off from the API server", async (client) => {
    await node.cut("api-server");
    try {
      await meta.untilAnotherThan(primary);
      await client.writes();
    } finally {
      await node.join();
    }
  });
  await meta.settled(3);
});

on(
  "the primary is cut off from the bucket only: it stays primary, nothing is acknowledged, and the condition says so",
  async () => {
    const { primary, node } = await primaryNode();
    await writing(meta, "cut off from the bucket", async (client) => {
      await node.cut("host");
      try {
        await waitFor("the condition says so", WAIT_MS_MAX, async () =>
          (await meta.condition("BucketReachable")).startsWith("False") ? true : undefined,
        );
        expect(await meta.primary()).toBe(primary);
      } finally {
        await node.join();
      }
      await client.writes();
      expect(await meta.primary()).toBe(primary);
    });
    await meta.settled(3);
  },
);

on("the bucket is away for two minutes: the masters run on, and all is shipped when it is back", async () => {
  const before = await meta.pods();
  await writing(meta, "bucket away", async (client) => {
    for (const index of [1, 2, 3]) await cluster.node(index).cut("host");
    await sleep(AWAY_MS);
    for (const index of [1, 2, 3]) await cluster.node(index).join();
    await client.writes();
  });
  await meta.settled(3);
  expect([...(await meta.pods()).values()].map(({ uid }) => uid)).toEqual([...before.values()].map(({ uid }) => uid));
});

on(
  "the API server is down for longer than the lease: nobody writes beyond it, and all go on when it is back",
  async () => {
    await writing(meta, "API server down", async (client) => {
      await cluster.apiServer.crash();
      await sleep(2 * LEASE_MS);
      await cluster.apiServer.boot();
      await client.writes();
    });
    await meta.settled(3);
  },
);

on("wrong credentials are said, and the right ones put in the secret are taken without a restart", async () => {
  const before = await meta.pods();
  await writing(meta, "credentials", async () => {
    await putSecret(cluster, "wrong");
    await waitFor("the condition says so", WAIT_MS_MAX, async () =>
      (await meta.condition("BucketReachable")).startsWith("False") ? true : undefined,
    );
    await putSecret(cluster, secretKey);
    await waitFor("it is reachable", WAIT_MS_MAX, async () =>
      (await meta.condition("BucketReachable")).startsWith("True") ? true : undefined,
    );
  });
  const after = await meta.pods();
  expect([...after].map(([name, { uid, restarts }]) => [name, uid, restarts])).toEqual(
    [...before].map(([name, { uid, restarts }]) => [name, uid, restarts]),
  );
});

on("the operator is away: a failover needs none, and it knows everything when it is back", async () => {
  await cluster.kubectl(["scale", "deployment", "-n", "metamaster-system", "--all", "--replicas=0"]);
  await writing(meta, "no operator", async (client) => {
    const [primary] = await meta.labelled();
    await cluster.kubectl(["delete", "pod", primary?.name ?? "", "--wait=false"]);
    await meta.untilAnotherThan(primary?.name ?? "");
    await client.writes();
  });
  await installOperator(cluster);
  await meta.settled(3);
});

on("deleted with its volumes, and applied again: everything comes from the bucket", async () => {
  const client = new Client(meta);
  await client.writes();
  await client.end();
  await meta.remove();
  await meta.apply();
  await meta.settled(3);
  expect(await client.missing("applied again")).toEqual([]);
});

on("after all of this the sidecars' memory is looked at", async () => {
  const pods = [...(await meta.pods()).keys()];
  const megabytes = await Promise.all(pods.map((pod) => sidecarMegabytes(meta, pod)));
  await keepFigures("sidecars", { megabytes: Object.fromEntries(pods.map((pod, at) => [pod, megabytes[at]])) });
  expect(megabytes.filter((each) => !(each > 0))).toEqual([]);
});

on("300 resources: all are looked after, and then nothing is written any more", async () => {
  const items = Array.from({ length: MANY }, (_, index) => {
    const manifest = meta.manifest({ replicas: 0, bucket: { url: `s3://of-nobody/many-${index}` } });
    return { ...manifest, metadata: { name: `many-${index}`, labels: { many: "true" } } };
  });
  const startMs = performance.now();
  await cluster.kubectl(
    ["apply", "--server-side", "-f", "-"],
    JSON.stringify({ apiVersion: "v1", kind: "List", items }),
  );
  const path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].reason}';
  const looked = async (): Promise<true | undefined> => {
    const reasons = await cluster.kubectl(["get", "mmc", "-l", "many", "-o", path]);
    return reasons.split(" ").filter((reason) => reason === "ScaledToZero").length === MANY ? true : undefined;
  };
  await waitFor("all are looked after", MANY_MS_MAX, looked, MANY_LOOK_MS);
  const convergedMs = Math.round(performance.now() - startMs);
  await sleep(SETTLE_MS);
  const [versions, before] = [await versionsOfAll(), await operatorMetrics(cluster)];
  await sleep(QUIET_MS);
  const [after, versionsAfter] = [await operatorMetrics(cluster), await versionsOfAll()];
  const rssMb = Math.round((after.get("process_resident_memory_bytes") ?? 0) / 1e6);
  const requests = requestsBetween(before, after);
  await keepFigures("300 resources", { convergedMs, rssMb, quietMs: QUIET_MS, requests });
  const changed = [...versionsAfter].filter(([object, version]) => versions.get(object) !== version);
  // How far the log of the one with members has grown is written down once a minute, which may be now.
  expect(changed.map(([object]) => object).filter((object) => object !== "MetaMasterCluster/meta")).toEqual([]);
  const writes = "metamaster_operator_api_writes_total";
  expect((after.get(writes) ?? NaN) - (before.get(writes) ?? NaN)).toBeLessThanOrEqual(changed.length);
  // Nothing is read anew: what is, the watches tell.
  const others = Object.keys(requests).filter((request) => !/verb="watch"|resource="leases"/.test(request));
  expect(others.filter((request) => !(changed.length > 0 && request.includes('"metamasterclusters"')))).toEqual([]);
  await cluster.kubectl(["delete", "mmc", "-l", "many", "--timeout=240s"]);
});

on("uninstalled: resources and data stay, and the masters run on; installed again nothing is restarted", async () => {
  const before = await meta.pods();
  await writing(meta, "uninstalled", async (client) => {
    await cluster.helm(["uninstall", "metamaster", "-n", "metamaster-system", "--wait"]);
    await client.writes();
    await installOperator(cluster);
    await meta.settled(3);
  });
  expect([...(await meta.pods()).values()].map(({ uid }) => uid).toSorted()).toEqual(
    [...before.values()].map(({ uid }) => uid).toSorted(),
  );
});
