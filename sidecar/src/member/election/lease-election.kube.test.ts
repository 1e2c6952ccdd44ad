import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { startApiServer, type ApiServer } from "../../../../e2e/cluster/api-server.js";
import { SystemClock } from "../../base/system-clock.js";
import { SystemRandom } from "../../base/system-random.js";
import { KubeClient } from "../../kube/client.js";
import { KubeLeases } from "../../kube/lease-store.js";
import { LeaseElection } from "./lease-election.js";
import { silent } from "../testing/contender.js";
import { electionContract } from "../testing/election-contract.js";
import { RealTimeElections } from "../testing/real-time-contender.js";

let server: ApiServer;
let client: KubeClient;
let worlds = 0;

// Long enough for an API server on a machine that is busy with other tests.
const leaseMs = 6000;
const times = { leaseMs, renewDeadlineMs: 4000, retryPeriodMs: 800 };

beforeAll(async () => {
  server = await startApiServer();
  const access = {
    url: server.url,
    namespace: "default",
    ca: async () => server.ca,
    token: async () => server.token,
  };
  client = new KubeClient(access, { userAgent: "metamaster-test", callMs: 5000 }, new SystemClock());
}, 30 * 60_000);

afterAll(async () => {
  client?.close();
  await server?.stop();
});

function world(): RealTimeElections {
  const store = new KubeLeases(client, `contract-${++worlds}`, { "metamaster.io/cluster": "contract" });
  return new RealTimeElections(leaseMs, store, (member, leases, clock) => {
    const random = new SystemRandom();
    const witness = { ownMasterEnded: async () => true, evidence: async () => false };
    const settings = { member, self: { uid: `uid-${member}`, nonce: member }, ...times };
    return new LeaseElection(settings, { clock, random, logger: silent, store: leases, witness });
  });
}

electionContract("through a lease of a real API server", world);

describe("a real API server", () => {
  test("away for less than the lease: killed and booted, then frozen, nothing changes; away for longer, leadership ends", async () => {
    const elections = world();
    const [a, b] = [elections.contender("a"), elections.contender("b")];
    a.stand();
    await elections.until(() => a.leads);
    b.stand();
    await elections.pass(leaseMs / 3);
    server.freeze();
    await elections.pass(leaseMs / 5);
    server.thaw();
    await elections.pass(leaseMs);
    expect([a.leads, b.leads, a.wins]).toEqual([true, false, 1]);
    await server.crash();
    await elections.until(() => !a.leads);
    expect(a.ended?.reason).toBe("LeaseLost");
    expect(b.leads).toBe(false);
    await server.boot();
    await elections.until(() => b.leads);
    expect(JSON.parse(await server.kubectl(["get", "lease", `contract-${worlds}`, "-o", "json"])).spec).toMatchObject({
      holderIdentity: "uid-b_b",
      leaseDurationSeconds: 6,
      leaseTransitions: 1,
    });
    await b.release("");
    await elections.until(() => !b.leads);
    const { spec } = JSON.parse(await server.kubectl(["get", "lease", `contract-${worlds}`, "-o", "json"]));
    expect(spec.holderIdentity ?? "").toBe("");
    elections.close();
  });
});
