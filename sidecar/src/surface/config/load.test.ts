import { describe, expect, test } from "@jest/globals";
import { explainConfig } from "./explain.js";
import { leaseTimes } from "./lease-times.js";
import { ConfigInvalid, parseConfig, loadConfig, type LoadedConfig } from "./load.js";
import { problemText } from "./problems.js";

const good = `cluster: demo
member: alpha
dataDirectory: data
bucket:
  url: s3://bucket/demo
databases:
  - name: meta
    path: meta
`;

function parse(
  text: string,
  more: { assignments?: string[]; environment?: Record<string, string> } = {},
): LoadedConfig {
  return parseConfig(text, { file: "/etc/mm/metamaster.yaml", assignments: [], environment: {}, ...more });
}

function problemsOf(text: string, more?: Parameters<typeof parse>[1]): string[] {
  try {
    parse(text, more);
  } catch (error) {
    if (error instanceof ConfigInvalid) return error.problems.map((problem) => problemText(problem, "f"));
    throw error;
  }
  return [];
}

test("the shortest configuration gets every default, and absolute paths", () => {
  const { config } = parse(good);
  expect(config).toMatchObject({
    member: "alpha",
    dataDirectory: "/etc/mm/data",
    databases: [{ name: "meta", path: "/etc/mm/data/meta" }],
    wal: { maxDelay: 500, maxSpool: 8 * 1024 ** 3 },
    election: { lease: 15_000, onBucketLoss: "Fence" },
    retention: { snapshots: 3, window: 86_400_000, gracePeriod: 3_600_000 },
    http: { address: { host: "127.0.0.1", port: 8401 } },
    gate: "HoldStart",
    bootstrap: "New",
  });
});

test("words may be written in lower or upper case", () => {
  expect(parse(`${good}bootstrap: adopt\n`).config.bootstrap).toBe("Adopt");
});

describe("one mistake, one clear line", () => {
  test.each<[string, string, string]>([
    [
      "a missing setting",
      good.replace("cluster: demo\n", ""),
      "f: cluster is missing: give letters, digits, '.', '_', '-', up to 63",
    ],
    [
      "a missing section",
      good.replace(/bucket:\n.*\n/, ""),
      "f: bucket is missing: give a section with url, region, endpoint, forcePathStyle ...",
    ],
    [
      "a missing setting in a list",
      good.replace("    path: meta\n", ""),
      "f:7: databases[0].path is missing: give a path without NUL, up to 1024 characters",
    ],
    [
      "a mistyped setting",
      `${good}wal:\n  maxDelai: 1s\n`,
      "f:10: wal.maxDelai is no setting; did you mean wal.maxDelay?",
    ],
    [
      "a setting in the wrong place",
      `${good}maxSpool: 1GiB\n`,
      "f:9: maxSpool is no setting here; did you mean wal.maxSpool?",
    ],
    [
      "an unknown setting",
      `${good}stop:\n  whenever: 1\n`,
      "f:10: stop.whenever is no setting. In stop there are grace, shipTimeout",
    ],
    [
      "a number without a unit",
      `${good}wal:\n  maxDelay: 500\n`,
      "f:10: wal.maxDelay found 500; expected a duration like 500ms, 15s, 5m, 1h; 1ms to 1m. A number needs a unit",
    ],
    [
      "a duration out of range",
      `${good}election:\n  lease: 100ms\n`,
      'f:10: election.lease found "100ms"; expected a duration like 500ms, 15s, 5m, 1h; 1s to 10m',
    ],
    [
      "a decimal size",
      `${good}wal:\n  maxSpool: 20GB\n`,
      'f:10: wal.maxSpool found "20GB"; expected a size like 64KiB, 8MiB, 2GiB; at least 16MiB. Units are KiB, MiB, GiB',
    ],
    ["a wrong word", `${good}gate: open\n`, 'f:9: gate found "open"; expected HoldStart or RoleAware'],
    [
      "a number where text belongs",
      good.replace("member: alpha", "member: 7"),
      "f:2: member found 7; expected letters, digits, '.', '_', '-', up to 63. Put it in quotes if it is meant as text",
    ],
    [
      "nothing where something belongs",
      good.replace("url: s3://bucket/demo", "url:"),
      "f:5: bucket.url found nothing; expected s3://bucket/prefix, gs://bucket/prefix or file:///absolute/folder",
    ],
    [
      "text where a section belongs",
      good.replace(/bucket:\n.*\n/, "bucket: s3://bucket\n"),
      'f:4: bucket found "s3://bucket"; expected a section with url, region, endpoint, forcePathStyle ...',
    ],
    [
      "no databases",
      good.replace(/databases:[^]*/, "databases: []\n"),
      "f:6: databases found an empty list; expected a list of 1 to 64 databases, each with `name` and `path`",
    ],
    [
      "a word in a list of words",
      `${good}companions: [3]\n`,
      "f:9: companions found 3; expected a list of paths or globs",
    ],
    [
      "two health checks",
      `${good}health:\n  http: http://localhost/\n  tcp: localhost:1\n`,
      "f:11: health.tcp is one check too many: http is given already",
    ],
    [
      "a database twice",
      `${good}  - name: meta\n    path: other\n`,
      'f:9: databases[1].name found "meta" again: databases[0] has that name',
    ],
    [
      "a directory twice",
      `${good}  - name: other\n    path: ../data/meta\n`,
      "f:10: databases[1].path found /etc/mm/data/meta again: it is databases[0].path",
    ],
    [
      "a WAL directory that is none",
      `${good}    walPath: ./meta\n`,
      "f:9: databases[0].walPath is the database's own directory; leave it out",
    ],
    [
      "a companion outside",
      `${good}companions: ["../x"]\n`,
      'f:9: companions[0] found "../x"; expected a path or glob relative to dataDirectory and inside it',
    ],
    [
      "a bucket in the data directory",
      good.replace("s3://bucket/demo", "file:///etc/mm/data/bucket"),
      "f:5: bucket.url found /etc/mm/data/bucket; the bucket's folder and dataDirectory (/etc/mm/data) must lie apart",
    ],
    [
      "a folder by two slashes",
      good.replace("s3://bucket/demo", "file://shared"),
      'f:5: bucket.url found "file://shared": a file url has three slashes (file:///folder); the part after two is a host',
    ],
    [
      "no bucket in the bucket's url",
      good.replace("s3://bucket/demo", "s3:///demo"),
      'f:5: bucket.url found "s3:///demo": it names no bucket',
    ],
    [
      "a number where a section belongs",
      `${good}wal: 3\n`,
      "f:9: wal found 3; expected a section with maxDelay, maxSpool",
    ],
    ["a key given twice", `${good}cluster: two\n`, "f:9: it is no YAML: Map keys must be unique"],
    [
      "no YAML",
      "a: [1,\n",
      "f:2: it is no YAML: Flow sequence in block collection must be sufficiently indented and end with a ]",
    ],
    ["a list as a whole", "- a\n", "f:1: it must be a mapping of settings, like `cluster: my-cluster`"],
  ])("%s", (_what, text, line) => {
    expect(problemsOf(text)).toContain(line);
  });
});

test("all problems are listed at once, in the order of the file", () => {
  const text = good.replace("alpha", '"a b"').replace("s3://", "ftp://") + "wal:\n  maxDelay: soon\ngaet: x\n";
  expect(problemsOf(text).map((line) => /^\S+ \S+/.exec(line)?.[0])).toEqual([
    "f:2: member",
    "f:5: bucket.url",
    "f:10: wal.maxDelay",
    "f:11: gaet",
  ]);
});

test("credentials in a url are never shown", () => {
  const lines = problemsOf(good.replace("s3://bucket/demo", "ftp://user:hunter2@host/x"));
  expect(lines.join()).toContain("//***@host");
  expect(lines.join()).not.toContain("hunter2");
});

describe("values from outside the file", () => {
  test("a variable wins over the file, a flag over the variable", () => {
    const environment = {
      METAMASTER_WAL_MAX_DELAY: "100ms",
      METAMASTER_MEMBER: "beta",
      METAMASTER_TRANSFER_PARALLEL: "9",
    };
    const { config } = parse(`${good}wal:\n  maxDelay: 1s\n`, {
      environment,
      assignments: ["wal.maxDelay=7ms", "databases[0].path=x", "retention.snapshots=5"],
    });
    expect(config).toMatchObject({
      member: "beta",
      wal: { maxDelay: 7 },
      transfer: { parallel: 9 },
      retention: { snapshots: 5 },
      databases: [{ path: "/etc/mm/data/x" }],
    });
  });

  test("their mistakes name the variable or the flag", () => {
    expect(problemsOf(good, { environment: { METAMASTER_WAL_MAX_DELAY: "1" } })).toEqual([
      'METAMASTER_WAL_MAX_DELAY: wal.maxDelay found "1"; expected a duration like 500ms, 15s, 5m, 1h; 1ms to 1m',
    ]);
    expect(problemsOf(good, { environment: { METAMASTER_WAL_MAX_DELAI: "1s" } })).toEqual([
      "METAMASTER_WAL_MAX_DELAI: sets nothing; did you mean METAMASTER_WAL_MAX_DELAY?",
    ]);
    expect(problemsOf(good, { assignments: ["wal.maxDela=1s", "wal", "transfer.parallel=many"] })).toEqual([
      "--set wal.maxDela: wal.maxDela is no setting; did you mean wal.maxDelay?",
      "--set wal: has the wrong form; write --set path=value, like --set wal.maxDelay=200ms",
      '--set transfer.parallel: transfer.parallel found "many"; expected a whole number, 1 to 64',
    ]);
  });

  test("variables that others make are let alone", () => {
    expect(
      problemsOf(good, {
        environment: {
          METAMASTER_SERVICE_HOST: "10.0.0.1",
          METAMASTER_PORT: "tcp://x",
          METAMASTER_URL: "u",
          METAMASTER_EPOCH: "1",
        },
      }),
    ).toEqual([]);
  });
});

test("each setting is explained with where it came from", () => {
  const loaded = parse(good, { environment: { METAMASTER_MEMBER: "beta" }, assignments: ["wal.maxDelay=7ms"] });
  const explained = explainConfig(loaded);
  expect(explained).toEqual(
    expect.arrayContaining([
      { path: "cluster", value: "demo", source: "/etc/mm/metamaster.yaml:1" },
      { path: "member", value: "beta", source: "METAMASTER_MEMBER" },
      { path: "databases[0].path", value: "/etc/mm/data/meta", source: "/etc/mm/metamaster.yaml:8" },
      { path: "wal.maxDelay", value: "7ms", source: "--set wal.maxDelay" },
      { path: "election.lease", value: "15s", source: "default" },
      { path: "bucket.region", value: null, source: "default" },
    ]),
  );
});

test("a file that can't be read says which, and how to name another", async () => {
  await expect(
    loadConfig({ file: "/nowhere/metamaster.yaml", assignments: [], environment: {} }),
  ).rejects.toMatchObject({
    code: "ConfigMissing",
    message: expect.stringContaining("/nowhere/metamaster.yaml"),
    hint: expect.stringContaining("--config"),
  });
});

function lease(more: string): string {
  return `${good}election:\n  type: lease\n${more}`;
}

describe("an election through a Lease", () => {
  test("times that are not given follow from the lease", () => {
    expect(leaseTimes(parse(lease("")).config.election)).toEqual({
      leaseMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2000,
    });
    const short = parse(lease("  lease: 6s\n  renewDeadline: 4500ms\n")).config.election;
    expect(leaseTimes(short)).toEqual({ leaseMs: 6000, renewDeadlineMs: 4500, retryPeriodMs: 900 });
  });

  test("every problem at once, each with its line", () => {
    const wrong = "  lease: 2500ms\n  renewDeadline: 2400ms\n  retryPeriod: 1s\n  leaseName: Not_One\n";
    expect(problemsOf(lease(wrong))).toEqual([
      "f:14: election.leaseName found \"Not_One\"; expected a name of a Kubernetes object: small letters, digits, '-' and '.'",
    ]);
    expect(problemsOf(lease(wrong.replace("Not_One", "meta")))).toEqual([
      "f:11: election.lease found 2500ms; a Lease lasts whole seconds",
      "f:12: election.renewDeadline found 2400ms; expected at most 2s: the rest is for the master to end",
      "f:13: election.retryPeriod found 1s; expected at most 800ms: one lost renewal must not end leadership",
    ]);
  });

  test("a cluster's name that can't be a Lease's", () => {
    const named = lease("").replace("cluster: demo", "cluster: My_Demo");
    expect(problemsOf(named)).toEqual([expect.stringContaining('"My_Demo" is not a name of a Kubernetes object')]);
    expect(problemsOf(`${named}  leaseName: my-demo\n`)).toEqual([]);
  });

  test("its settings without it", () => {
    expect(problemsOf(`${good}election:\n  renewDeadline: 4s\n`)).toEqual([
      "f:10: election.renewDeadline is for `type: Lease` only; leave it out, or set `election.type: Lease`",
    ]);
    // One pod's template may give it to all.
    expect(problemsOf(good, { environment: { METAMASTER_ELECTION_POD_UID: "0-1" } })).toEqual([]);
  });
});
