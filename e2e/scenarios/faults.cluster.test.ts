import { expect } from "@jest/globals";
import { nodeReady, type Cluster, type ClusterNode } from "../cluster/cluster.js";
import { waitFor } from "../cluster/wait.js";
import { accessKey, secretKey, type StoreServer } from "../servers/server.js";
import { writing, type Client } from "./client.js";
import { MASTER_IMAGE } from "./images.js";
import { killIn } from "./kills.js";
import { OneMaster } from "./one-master.js";
import { installOperator, Meta, PORT } from "./product.js";
import { ServiceClient } from "./service-client.js";
import { SmallVolumes } from "./small-volumes.js";
import { stage } from "./stage.js";

// Several things fail at once, or something is missing: what the scenarios of scenarios.cluster.test.ts leave out.
const WAIT_MS_MAX = 240_000;
const LEASE_MS = 6000;
const NODES = [1, 2, 3];
const KEYS_MAX = 5000;
const VOLUME_MIB = 32;
/** The kubelet lets a container that was started again so often wait for 20 s, longer than the lease. */
const CRASHES = 3;
const STROKES = 3;

let cluster: Cluster;
let store: StoreServer;
let meta: Meta;

const on = stage(NODES.length, async (up) => {
  ({ cluster, store } = up);
  await installOperator(cluster);
  meta = await Meta.make(cluster, store, "meta", { replicas: 1 });
  await meta.apply();
  await meta.settled(1);
});

interface Where {
  readonly name: string;
  readonly address: string;
  readonly node: ClusterNode;
}

/** By its label: an operator need not be there. */
async function primaryNow(of = meta): Promise<Where> {
  return await waitFor("somebody is primary", WAIT_MS_MAX, async () => {
    const [found] = await of.labelled();
    const at = (await of.pods()).get(found?.name ?? "")?.node;
    const node = NODES.map((index) => cluster.node(index)).find(({ name }) => name === at);
    return found === undefined || node === undefined ? undefined : { ...found, node };
  });
}

/** Whether the cluster hears from its kubelet. */
async function isReady(node: ClusterNode): Promise<boolean> {
  return (await nodeReady(cluster, node)) === "True";
}

on("scaled from one to three while it is written: the one that is there is not restarted", async () => {
  const before = await meta.pods();
  await writing(meta, "one to three", async () => {
    await cluster.kubectl(["scale", "mmc/meta", "--replicas=3"]);
    await meta.settled(3);
  });
  meta.change({ replicas: 3 });
  expect((await meta.pods()).get("meta-0")).toEqual(before.get("meta-0"));
});

on("a client that knows only the Service reaches whoever is primary: before and after a failover", async () => {
  await writing(meta, "through the Service", async (client) => {
    const through = await ServiceClient.start(meta);
    try {
      await through.writes();
      const first = await primaryNow();
      await cluster.kubectl(["delete", "pod", first.name, "--wait=false"]);
      await meta.untilAnotherThan(first.name);
      await through.writes();
      expect(await through.missing(() => client.rows())).toEqual([]);
    } finally {
      await through.end();
    }
  });
  await meta.settled(3);
});

on(
  "the primary is cut off from the bucket and the API server at once: its master ends, another leads, and the old one acknowledges nothing",
  async () => {
    const old = await primaryNow();
    await writing(meta, "cut off from both", async (client) => {
      await old.node.cut("api-server");
      await old.node.cut("host");
      try {
        await meta.untilAnotherThan(old.name);
        await client.writes();
        // Who still talks to the old one is not answered: its master has ended.
        const late = fetch(`http://${old.address}:${PORT}/kv/late`, {
          method: "PUT",
          body: "late",
          signal: AbortSignal.timeout(2 * LEASE_MS),
        });
        await expect(late.then(({ status }) => status)).rejects.toThrow();
      } finally {
        await old.node.join();
      }
    });
    await meta.settled(3);
  },
);

on(
  "the kubelet of the primary's node stands still: nothing is moved, until the cluster takes the pod out of its Service",
  async () => {
    const before = await primaryNow();
    const names: string[] = [];
    await writing(meta, "kubelet stopped", async (client) => {
      await before.node.stopKubelet();
      try {
        await waitFor("its node is silent to the cluster", WAIT_MS_MAX, async () => {
          names.push((await primaryNow()).name);
          // Looked at after the primary: while the cluster has not noticed, whoever leads has led all the time.
          return (await isReady(before.node)) ? undefined : true;
        });
        expect(new Set(names.slice(0, -1))).toEqual(new Set([before.name]));
        await meta.untilAnotherThan(before.name);
        await client.writes();
      } finally {
        await before.node.startKubelet();
      }
    });
    await meta.settled(3);
  },
);

on(
  "without an operator the primary's pod is deleted, then its node cut off: others lead, and the status is true again later",
  async () => {
    await cluster.kubectl(["scale", "deployment", "-n", "metamaster-system", "--all", "--replicas=0"]);
    await cluster.kubectl(["wait", "-n", "metamaster-system", "--for=delete", "pod", "--all", "--timeout=60s"]);
    await writing(meta, "no operator at all", async (client) => {
      const first = await primaryNow();
      await cluster.kubectl(["delete", "pod", first.name, "--wait=false"]);
      await meta.untilAnotherThan(first.name);
      await client.writes();
      const second = await primaryNow();
      await second.node.cut();
      try {
        await meta.untilAnotherThan(second.name);
        await client.writes();
      } finally {
        await second.node.join();
      }
    });
    await installOperator(cluster);
    expect(await meta.settled(3)).toBe((await primaryNow()).name);
  },
);

/** Rows are written all the while, and never do two masters answer. */
async function neverTwo(name: string, body: (client: Client) => Promise<void>): Promise<void> {
  const one = new OneMaster(meta);
  try {
    await writing(meta, name, body);
  } finally {
    expect(await one.end()).toEqual([]);
  }
  expect(one.looks).toBeGreaterThan(0);
}

/** Hands over to it, and waits for that. */
async function leadBy(name: string): Promise<void> {
  await meta.apply({ switchover: { target: name, maxLag: "10s", requestedAt: `${performance.now()}` } });
  await waitFor(`${name} is primary`, WAIT_MS_MAX, async () => ((await primaryNow()).name === name ? true : undefined));
}

on(
  "a sidecar that crashes again and again, so that its kubelet lets it wait for longer than the lease: the watchdog ends its master, never are there two, and no row is lost",
  async () => {
    const first = await primaryNow();
    const name = [...(await meta.pods()).keys()].find((each) => each !== first.name) ?? "";
    const before = await meta.pods();
    for (let crash = 1; crash <= CRASHES; crash++) {
      await killIn(cluster, name, "sidecar");
      await waitFor("it is started again", WAIT_MS_MAX, async () =>
        (await meta.restarts(name, "metamaster")) >= crash ? true : undefined,
      );
      await waitFor("it follows again", WAIT_MS_MAX, async () =>
        (await meta.memberStatus(name)).history.at(-1)?.role === "Standby" ? true : undefined,
      );
    }
    await leadBy(name);
    // The very pod: it is not replaced for that.
    expect((await meta.pods()).get(name)?.uid).toBe(before.get(name)?.uid);
    await neverTwo("sidecar in back-off", async (client) => {
      await killIn(cluster, name, "sidecar");
      await meta.untilAnotherThan(name);
      await client.writes();
    });
    await meta.apply();
    await meta.settled(3);
  },
);

on(
  "sidecar and watchdog are killed at one stroke, again and again: a standby's pod is replaced before it leads, a primary's master ends in time, and no row is lost",
  async () => {
    await neverTwo("sidecar and watchdog", async (client) => {
      for (let stroke = 1; stroke <= STROKES; stroke++) {
        const first = await primaryNow();
        const before = await meta.pods();
        const name = [...before.keys()].find((each) => each !== first.name) ?? "";
        await killIn(cluster, name, "watchdog", "sidecar");
        await waitFor("its pod is another", WAIT_MS_MAX, async () => {
          const now = (await meta.pods()).get(name);
          return now !== undefined && now.uid !== before.get(name)?.uid ? true : undefined;
        });
        await meta.settled(3);
        await leadBy(name);
        await killIn(cluster, name, "watchdog", "sidecar");
        await client.writes();
        await meta.apply();
        await meta.settled(3);
      }
    });
  },
);

on("a Secret that is missing is told by name; once it is made everything starts, and no pod is made anew", async () => {
  const late = await Meta.make(cluster, store, "late", { replicas: 2 });
  const bucket = { ...late.bucket, region: "us-east-1", credentials: { secretRef: { name: "late-bucket" } } };
  late.change({ spec: { bucket } });
  await late.apply();
  await waitFor("it is told", WAIT_MS_MAX, async () =>
    (await late.condition("BucketReachable")) === "False Denied" ? true : undefined,
  );
  expect(await late.message("BucketReachable")).toMatch(/AWS_ACCESS_KEY_ID .* is missing.* Secret late-bucket/);
  expect(await late.condition("Degraded")).toBe("True MemberFailing");
  const before = await late.pods();
  const stringData = { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey };
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "late-bucket" }, stringData };
  await cluster.kubectl(["apply", "-f", "-"], JSON.stringify(secret));
  await late.settled(2);
  expect([...(await late.pods())]).toEqual([...before]);
  await late.remove();
});

on("a master whose user only its image knows: the sidecar, as root, ships for it, and another takes over", async () => {
  const master = {
    name: "master",
    image: MASTER_IMAGE,
    imagePullPolicy: "Never",
    args: ["--db", "/data/meta", "--port", `${PORT}`, "--host", "0.0.0.0"],
    ports: [{ name: "http", containerPort: PORT }],
  };
  const template = { spec: { securityContext: { fsGroup: 65532 }, containers: [master] } };
  const rooted = await Meta.make(cluster, store, "rooted", { replicas: 2, spec: { template } });
  await rooted.apply();
  await rooted.settled(2);
  await writing(rooted, "user of the image", async (client) => {
    const first = await primaryNow(rooted);
    await cluster.kubectl(["delete", "pod", first.name, "--wait=false"]);
    await rooted.untilAnotherThan(first.name);
    await client.writes();
    await rooted.settled(2);
    const second = await primaryNow(rooted);
    await cluster.kubectl(["delete", "pod", second.name, "--force", "--grace-period=0"]);
    await rooted.untilAnotherThan(second.name);
  });
  await rooted.settled(2);
  await rooted.remove();
});

on("a resource begins with another one's state, and goes its own way; the other serves on", async () => {
  const before = await rowsAfterWriting(meta, "begun from");
  const copy = await Meta.make(cluster, store, "copy", {
    replicas: 2,
    spec: { bootstrap: { from: { url: meta.bucket.url } } },
  });
  await copy.apply();
  await copy.settled(2);
  const keys = await keysOf(copy);
  expect(before.filter((key) => !keys.includes(key))).toEqual([]);
  await writing(copy, "begun from another", async () => undefined);
  await meta.settled(3);
  await copy.remove();
});

on(
  "the primary's volume is full: nothing is acknowledged falsely, another takes over, and the old one comes back with space",
  async () => {
    const nodes = NODES.map((index) => cluster.node(index).name);
    const volumes = await SmallVolumes.make(cluster, "small", { nodes, mebibytes: VOLUME_MIB });
    const claim = { storageClassName: volumes.storageClass, resources: { requests: { storage: `${VOLUME_MIB}Mi` } } };
    const full = await Meta.make(cluster, store, "full", {
      replicas: 2,
      spec: { volumeClaimTemplate: { spec: claim } },
    });
    await full.apply();
    await full.settled(2);
    const first = await primaryNow(full);
    await writing(full, "volume full", async (client) => {
      await volumes.fill(first.node.name);
      await full.untilAnotherThan(first.name);
      await client.writes();
      await waitFor("it is told", WAIT_MS_MAX, async () =>
        /no space is left/.test(await full.message("Degraded")) ? true : undefined,
      );
      expect(await full.message("Degraded")).toContain(first.name);
      await volumes.free(first.node.name);
    });
    await full.settled(2);
    await full.remove();
    await volumes.remove();
  },
);

/** Writes some rows, and gives the names of all that are there. */
async function rowsAfterWriting(of: Meta, name: string): Promise<readonly string[]> {
  await writing(of, name, async () => undefined);
  return await keysOf(of);
}

async function keysOf(of: Meta): Promise<readonly string[]> {
  const { address } = await primaryNow(of);
  const answer = await fetch(`http://${address}:${PORT}/list?limit=${KEYS_MAX}`, {
    signal: AbortSignal.timeout(LEASE_MS),
  });
  return ((await answer.json()) as { rows: [string, string][] }).rows.map(([key]) => key);
}
