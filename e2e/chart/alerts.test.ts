import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse, stringify } from "yaml";
import { textOf } from "../docs/documents.js";
import { requirePromtool } from "../tools/promtool.js";

// The chart's alerts in Prometheus' own engine: which of them are firing after a while, given what the pods export. One test may take a download.
const run = promisify(execFile);
const MS_MAX = 300_000;
const promtool = await requirePromtool("the chart's alerts");

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
}

const groups = (parse(textOf("charts/metamaster/files/alerts.yaml")) as { groups: { name: string; rules: Rule[] }[] })
  .groups;
const names = groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));

type Series = Readonly<Record<string, string>>;
type Labels = Readonly<Record<string, string>>;

const CLUSTER = { namespace: "prod", metamaster_cluster: "meta" };
const of = Object.entries(CLUSTER).map(([name, value]) => `${name}="${value}"`);
const ROLES = ["Syncing", "Standby", "Promoting", "Primary", "Fencing", "Halted"];
const STEADY = "x200";

/** What one running member exports. */
function member(name: string, role: string, slots = `0+5${STEADY}`): Series {
  const pod = [...of, `pod="${name}"`].join(",");
  const roles = ROLES.map((each) => [`metamaster_role{${pod},role="${each}"}`, `${each === role ? 1 : 0}+0${STEADY}`]);
  return {
    ...Object.fromEntries(roles),
    [`metamaster_slot{${pod}}`]: slots,
    [`metamaster_epoch{${pod}}`]: `3+0${STEADY}`,
    [`metamaster_durable_lag_seconds{${pod}}`]: `0+0${STEADY}`,
  };
}

/** What the operator that leads exports of the resource. */
function operator({ wanted = 3, ready = 3, primary = 1, isReady = 1, degraded = 0 } = {}): Series {
  const ofIt = `${of.join(",")},pod="operator-0"`;
  return {
    'metamaster_operator_leader{pod="operator-0"}': `1+0${STEADY}`,
    'metamaster_operator_leader{pod="operator-1"}': `0+0${STEADY}`,
    [`metamaster_cluster_members_wanted{${ofIt}}`]: `${wanted}+0${STEADY}`,
    [`metamaster_cluster_members_ready{${ofIt}}`]: `${ready}+0${STEADY}`,
    [`metamaster_cluster_condition{${ofIt},condition="PrimaryElected"}`]: `${primary}+0${STEADY}`,
    [`metamaster_cluster_condition{${ofIt},condition="Ready"}`]: `${isReady}+0${STEADY}`,
    [`metamaster_cluster_condition{${ofIt},condition="Degraded"}`]: `${degraded}+0${STEADY}`,
  };
}

const three = { ...member("meta-0", "Primary"), ...member("meta-1", "Standby"), ...member("meta-2", "Standby") };
const pod0 = { ...CLUSTER, pod: "meta-0" };
const ofPod0 = [...of, 'pod="meta-0"'].join(",");

interface Case {
  readonly given: Series;
  /** After so long: the alerts that fire then, with their labels. */
  readonly after: Readonly<Record<string, Readonly<Record<string, readonly Labels[]>>>>;
}

const cases: Readonly<Record<string, Case>> = {
  "three members as they should be": { given: { ...three, ...operator() }, after: { "2h": {} } },
  "one member is wanted": {
    given: { ...member("meta-0", "Primary"), ...operator({ wanted: 1, ready: 1 }) },
    after: { "2h": {} },
  },
  "scaled to zero": { given: operator({ wanted: 0, ready: 0, primary: 0 }), after: { "2h": {} } },
  "no pod runs at all": {
    given: operator({ ready: 0, primary: 0, isReady: 0 }),
    after: {
      "2m": { MetaMasterNoPrimary: [CLUSTER] },
      "20m": { MetaMasterNoPrimary: [CLUSTER], MetaMasterNoStandby: [CLUSTER] },
      "31m": { MetaMasterNoPrimary: [CLUSTER], MetaMasterNoStandby: [CLUSTER], MetaMasterNotReady: [CLUSTER] },
    },
  },
  "the standbys' pods don't run": {
    given: { ...member("meta-0", "Primary"), ...operator({ ready: 1, isReady: 0 }) },
    after: { "14m": {}, "16m": { MetaMasterNoStandby: [CLUSTER] } },
  },
  "members run, and none of them is primary; no operator": {
    given: { ...member("meta-0", "Standby"), ...member("meta-1", "Standby") },
    after: {
      "2m": { MetaMasterNoPrimary: [CLUSTER] },
      "16m": { MetaMasterNoPrimary: [CLUSTER], MetaMasterOperatorAway: [{}] },
    },
  },
  "only the operator can't reach the members": {
    given: { ...three, ...operator({ ready: 0, primary: 0, isReady: 0 }) },
    after: { "10m": {}, "16m": { MetaMasterNoStandby: [CLUSTER] } },
  },
  "the operator's leader changes while a member is missing": {
    given: {
      ...three,
      [`metamaster_cluster_condition{${of.join(",")},pod="operator-0",condition="Ready"}`]: `0+0x20 stale`,
      [`metamaster_cluster_condition{${of.join(",")},pod="operator-1",condition="Ready"}`]: `_x20 0+0${STEADY}`,
      'metamaster_operator_leader{pod="operator-0"}': `1+0x20 stale`,
      'metamaster_operator_leader{pod="operator-1"}': `0+0x20 1+0${STEADY}`,
    },
    after: { "29m": {}, "31m": { MetaMasterNotReady: [CLUSTER] } },
  },
  "a spec can't be carried out while the members run": {
    given: { ...three, ...operator({ degraded: 1 }) },
    after: { "29m": {}, "31m": { MetaMasterNotReady: [CLUSTER] } },
  },
  "two say they are primary": {
    given: { ...three, ...member("meta-1", "Primary"), ...operator() },
    after: { "1m": {}, "3m": { MetaMasterTwoPrimaries: [CLUSTER] } },
  },
  "a standby stands still": {
    given: { ...three, ...member("meta-2", "Standby", "0+5x10 50+0x200"), ...operator() },
    after: { "15m": {}, "40m": { MetaMasterStandbyBehind: [{ ...CLUSTER, pod: "meta-2" }] } },
  },
  "the primary changes again and again": {
    given: { ...three, ...operator(), [`metamaster_epoch{${ofPod0}}`]: "1+0x70 12+0x100" },
    after: { "70m": {}, "75m": { MetaMasterFailoversFrequent: [CLUSTER] }, "150m": {} },
  },
  "the bucket is away from the primary": {
    given: {
      ...three,
      ...operator(),
      [`metamaster_durable_lag_seconds{${ofPod0}}`]: `0+60${STEADY}`,
      [`metamaster_bucket_retries_total{${ofPod0},operation="put",code="Timeout"}`]: `0+10${STEADY}`,
      [`metamaster_bucket_requests_total{${ofPod0},operation="put",outcome="error"}`]: `0+11${STEADY}`,
      [`metamaster_spool_bytes{${ofPod0}}`]: `0+400000000${STEADY}`,
      [`metamaster_snapshot_age_seconds{${ofPod0}}`]: `0+60${STEADY}`,
    },
    after: {
      "3m": {},
      "10m": { MetaMasterWritesNotDurable: [pod0], MetaMasterBucketFailing: [pod0] },
      "80m": {
        MetaMasterWritesNotDurable: [pod0],
        MetaMasterBucketFailing: [pod0],
        MetaMasterSpoolGrowing: [pod0],
        MetaMasterCheckpointOld: [pod0],
      },
    },
  },
  "barriers are slow, and a takeover would be": {
    given: {
      ...three,
      ...operator(),
      [`metamaster_barrier_duration_seconds_bucket{${ofPod0},le="2.5"}`]: `0+1${STEADY}`,
      [`metamaster_barrier_duration_seconds_bucket{${ofPod0},le="5"}`]: `0+100${STEADY}`,
      [`metamaster_barrier_duration_seconds_bucket{${ofPod0},le="+Inf"}`]: `0+100${STEADY}`,
      [`metamaster_predicted_replay_seconds{${ofPod0}}`]: `25+0${STEADY}`,
    },
    after: { "8m": {}, "20m": { MetaMasterBarrierSlow: [CLUSTER], MetaMasterReplayLong: [pod0] } },
  },
  "a member is halted, another one restores for ever": {
    given: {
      ...member("meta-0", "Primary"),
      ...member("meta-1", "Halted"),
      ...member("meta-2", "Syncing"),
      ...operator({ ready: 2 }),
      [`metamaster_halted{${of.join(",")},pod="meta-1",reason="Diverged"}`]: `1+0${STEADY}`,
    },
    after: {
      "1m": { MetaMasterHalted: [{ ...CLUSTER, pod: "meta-1", reason: "Diverged" }] },
      "31m": {
        MetaMasterHalted: [{ ...CLUSTER, pod: "meta-1", reason: "Diverged" }],
        MetaMasterNoStandby: [CLUSTER],
        MetaMasterMemberStuck: [{ ...CLUSTER, pod: "meta-2", role: "Syncing" }],
      },
    },
  },
  "data is put aside, and the master ends again and again": {
    given: {
      ...three,
      ...operator(),
      [`metamaster_quarantines_total{${ofPod0}}`]: "_x30 1+0x100",
      [`metamaster_master_restarts_total{${ofPod0}}`]: "0+0x40 1+1x6 7+0x100",
    },
    after: {
      "20m": {},
      "35m": { MetaMasterDataQuarantined: [pod0] },
      "50m": { MetaMasterDataQuarantined: [pod0], MetaMasterMasterRestarting: [pod0] },
      "120m": {},
    },
  },
};

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "metamaster-alerts-"));
  const rules = groups.map(({ name, rules: all }) => ({
    name,
    rules: all.map(({ alert, expr, for: wait }) => ({ alert, expr, for: wait })),
  }));
  await writeFile(join(folder, "rules.yaml"), stringify({ groups: rules }));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const onlyWithIt = promtool === undefined ? test.skip : test;

onlyWithIt.each(Object.entries(cases))(
  "%s",
  async (name, { given, after }) => {
    const times = Object.entries(after).flatMap(([time, firing]) =>
      names.map((alertname) => ({
        eval_time: time,
        alertname,
        exp_alerts: (firing[alertname] ?? []).map((labels) => ({ exp_labels: labels })),
      })),
    );
    const input = Object.entries(given).map(([series, values]) => ({ series, values }));
    const file = join(folder, `${name.replaceAll(/\W+/g, "-")}.yaml`);
    const tests = [{ interval: "1m", input_series: input, alert_rule_test: times }];
    await writeFile(file, stringify({ rule_files: ["rules.yaml"], evaluation_interval: "1m", tests }));
    const said = await run(promtool ?? "", ["test", "rules", file]).catch((error: unknown) => ({
      stdout: `${String(Reflect.get(Object(error), "stdout"))}${String(Reflect.get(Object(error), "stderr"))}`,
    }));
    expect(said.stdout).toContain("SUCCESS");
  },
  MS_MAX,
);

test("each alert is seen to fire, and every name in the cases is an alert's", () => {
  const seen = Object.values(cases).flatMap(({ after }) =>
    Object.values(after).flatMap((firing) => Object.keys(firing)),
  );
  expect(new Set(seen)).toEqual(new Set(names));
});
