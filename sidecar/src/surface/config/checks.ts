import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { bucketUrlFault, shownUrl } from "../../bucket/bucket-url.js";
import { isLoopback } from "./address.js";
import type { PlainIssue } from "./problems.js";
import { leaseTimes } from "./lease-times.js";
import { isLeaseName, leaseNameText, type Config } from "./schema.js";
import { formatDuration } from "./units.js";

const RENEW_DEADLINE_OF_LEASE_MAX = 0.8;
const RETRIES_MIN = 3;

/** What no single setting shows. `base`: the directory that relative paths begin at. */
export function crossCheck(config: Config, base: string): PlainIssue[] {
  return [
    ...databaseIssues(config, base),
    ...companionIssues(config),
    ...healthIssues(config),
    ...bucketIssues(config, base),
    ...bootstrapIssues(config),
    ...electionIssues(config),
  ];
}

/** Settings that work, but that somebody should know about. */
export function cautions(config: Config): string[] {
  const all: string[] = [];
  const { address } = config.http;
  // In a pod kubelet and operator ask there: it is meant so.
  if (!isLoopback(address.host) && config.election.type !== "Lease") {
    all.push(
      `http.address ${address.host} can be reached from other machines: status and metrics are open to them; what changes something is still taken from this machine only.`,
    );
  }
  if (config.health.exec === undefined && config.health.http === undefined && config.health.tcp === undefined) {
    all.push("No health check is configured: a master that hangs is not noticed as long as its process lives.");
  }
  return all;
}

function databaseIssues({ databases, dataDirectory }: Config, base: string): PlainIssue[] {
  const issues: PlainIssue[] = [];
  const data = resolve(base, dataDirectory);
  const names = new Map<string, number>();
  const directories = new Map<string, string>();
  databases.forEach(({ name, path, walPath }, index) => {
    const at = names.get(name);
    if (at === undefined) names.set(name, index);
    else
      issues.push({
        path: ["databases", index, "name"],
        message: `found "${name}" again: databases[${at}] has that name`,
      });
    const own = { path: resolve(data, path), ...(walPath === undefined ? {} : { walPath: resolve(data, walPath) }) };
    for (const [key, directory] of Object.entries(own)) {
      const where = ["databases", index, key];
      if (key === "walPath" && directory === own.path) {
        issues.push({ path: where, message: "is the database's own directory; leave it out" });
        continue;
      }
      const taken = directories.get(directory);
      if (taken === undefined) directories.set(directory, `databases[${index}].${key}`);
      else issues.push({ path: where, message: `found ${directory} again: it is ${taken}` });
      if (directory === data)
        issues.push({ path: where, message: "is the data directory itself; give the database a directory below it" });
      if (isWithin(`${data}/.metamaster`, directory))
        issues.push({ path: where, message: "lies in .metamaster, which is MetaMaster's own" });
    }
  });
  return issues;
}

function companionIssues({ companions }: Config): PlainIssue[] {
  return companions.flatMap((companion, index) => {
    const parts = companion.split("/");
    const wrong =
      companion.startsWith("/") || parts.includes("..")
        ? `found "${companion}"; expected a path or glob relative to dataDirectory and inside it`
        : parts[0] === ".metamaster"
          ? "lies in .metamaster, which is MetaMaster's own"
          : undefined;
    return wrong === undefined ? [] : [{ path: ["companions", index], message: wrong }];
  });
}

function healthIssues({ health }: Config): PlainIssue[] {
  const given = (["exec", "http", "tcp"] as const).filter((kind) => health[kind] !== undefined);
  return given
    .slice(1)
    .map((kind) => ({ path: ["health", kind], message: `is one check too many: ${given[0]} is given already` }));
}

function issue(key: string, message: string): PlainIssue {
  return { path: ["election", key], message };
}

/** Of the Lease: times that leave no room to renew, to stop the master or to notice. */
function electionIssues({ cluster, election }: Config): PlainIssue[] {
  if (election.type === "Log") {
    // `podUid` may come from a pod's template that is the same for all.
    return (["renewDeadline", "retryPeriod", "leaseName"] as const)
      .filter((key) => election[key] !== undefined)
      .map((key) => issue(key, "is for `type: Lease` only; leave it out, or set `election.type: Lease`"));
  }
  const issues: PlainIssue[] = [];
  const { leaseMs, renewDeadlineMs, retryPeriodMs } = leaseTimes(election);
  if (leaseMs % 1000 !== 0) {
    issues.push(issue("lease", `found ${formatDuration(leaseMs)}; a Lease lasts whole seconds`));
  }
  if (renewDeadlineMs > leaseMs * RENEW_DEADLINE_OF_LEASE_MAX) {
    const most = formatDuration(leaseMs * RENEW_DEADLINE_OF_LEASE_MAX);
    const why = "the rest is for the master to end";
    issues.push(issue("renewDeadline", `found ${formatDuration(renewDeadlineMs)}; expected at most ${most}: ${why}`));
  }
  if (retryPeriodMs > renewDeadlineMs / RETRIES_MIN) {
    const most = formatDuration(Math.floor(renewDeadlineMs / RETRIES_MIN));
    const why = "one lost renewal must not end leadership";
    issues.push(issue("retryPeriod", `found ${formatDuration(retryPeriodMs)}; expected at most ${most}: ${why}`));
  }
  if (election.leaseName === undefined && !isLeaseName(cluster)) {
    issues.push(issue("leaseName", `is missing, and the cluster's name "${cluster}" is not ${leaseNameText}`));
  }
  return issues;
}

/** A url that no bucket can be opened by; a bucket in the data directory would be swept away by the first restore. */
function bucketIssues({ bucket, dataDirectory }: Config, base: string): PlainIssue[] {
  const fault = bucketUrlFault(bucket.url);
  if (fault !== undefined) {
    return [{ path: ["bucket", "url"], message: `found ${JSON.stringify(shownUrl(bucket.url))}: ${fault}` }];
  }
  const url = new URL(bucket.url);
  if (url.protocol !== "file:") return [];
  if (bucket.credentialsDirectory !== undefined) {
    const message = "is for s3:// and gs:// only; leave it out";
    return [{ path: ["bucket", "credentialsDirectory"], message }];
  }
  const data = resolve(base, dataDirectory);
  const folder = fileURLToPath(url);
  if (!isWithin(data, folder) && !isWithin(folder, data)) return [];
  return [
    {
      path: ["bucket", "url"],
      message: `found ${folder}; the bucket's folder and dataDirectory (${data}) must lie apart`,
    },
  ];
}

function bootstrapIssues({ bootstrap, bootstrapFrom, bucket }: Config): PlainIssue[] {
  if (bootstrapFrom === undefined) return [];
  const { url } = bootstrapFrom;
  const wrong: string[] = [];
  const fault = bucketUrlFault(url);
  if (fault !== undefined) wrong.push(`found ${JSON.stringify(shownUrl(url))}: ${fault}`);
  const [own, other] = [bucket.url, url].map((each) => each.replace(/\/+$/, ""));
  if (isWithin(own ?? "", other ?? "") || isWithin(other ?? "", own ?? ""))
    wrong.push("is, holds or lies in `bucket.url`; name another cluster's prefix");
  if (new URL(bucket.url).protocol !== new URL(url).protocol) wrong.push("must be in the same store as `bucket.url`");
  if (bootstrap === "Adopt") wrong.push("is one beginning too many: `bootstrap` is Adopt");
  return wrong.map((message) => ({ path: ["bootstrapFrom", "url"], message }));
}

function isWithin(parent: string, child: string): boolean {
  return `${child}/`.startsWith(parent.endsWith("/") ? parent : `${parent}/`);
}
