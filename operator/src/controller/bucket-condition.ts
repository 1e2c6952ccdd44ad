import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { text } from "../kube/objects.js";
import { CA_DIRECTORY, CREDENTIALS_DIRECTORY } from "../objects/config.js";
import type { Observed } from "./observe.js";
import type { Verdict } from "./verdict.js";

type Condition = Verdict<"BucketReachable">;

/** The primary's word counts: a standby may be cut off by itself. While nobody is primary anybody's does. */
export function bucketReachable(
  cluster: MetaMasterCluster,
  members: readonly Observed[],
  primary: Observed | undefined,
): Condition {
  const told = primary ?? members.find((each) => bucketTroubleOf(each, cluster) !== undefined);
  const trouble = told && bucketTroubleOf(told, cluster);
  if (told !== undefined && trouble !== undefined) return outOfReach(cluster, members, told, trouble);
  if (primary !== undefined) {
    const { trouble: other } = primary.document?.ship ?? {};
    const message =
      other === undefined
        ? "What the primary writes becomes durable."
        : `It is not the bucket that keeps ${primary.member.name} from shipping: ${other}`;
    return { status: "True", reason: "Reachable", message };
  }
  const follower = members.find(reads);
  if (follower !== undefined)
    return { status: "True", reason: "Reachable", message: `${follower.member.name} reads it; nobody is primary.` };
  return { status: "Unknown", reason: "Unknown", message: "No member says how the bucket is." };
}

/** Of the bucket: of the store, the way there, or the credentials. A full disk, or a master that fails, is none. */
function bucketTroubleOf({ document, failing }: Observed, { spec }: MetaMasterCluster): string | undefined {
  // Before there is a member all that its sidecar does is to look at the bucket; one that ended at that told the error's code.
  if (document === undefined) return failing !== undefined && /code: Bucket\w+/.test(failing) ? failing : undefined;
  const { bucketTrouble, trouble, ship } = document ?? {};
  const url = spec.bucket.url.replace(/\/+$/, "");
  const isOfBucket = (words: string): boolean =>
    [url, CREDENTIALS_DIRECTORY, CA_DIRECTORY].some((each) => words.includes(each));
  return bucketTrouble ?? [ship?.trouble, trouble].find((words) => words !== undefined && isOfBucket(words));
}

/** It follows, and so does read what is there. */
function reads({ document, member }: Observed): boolean {
  return member.role === "Standby" && document?.bucketTrouble === undefined && document?.trouble === undefined;
}

function outOfReach(
  { spec }: MetaMasterCluster,
  members: readonly Observed[],
  told: Observed,
  trouble: string,
): Condition {
  const { name } = told.member;
  const message = `${name}: ${trouble}`;
  if (isDenied(trouble)) {
    const { credentials } = spec.bucket;
    const from =
      credentials === undefined
        ? ""
        : ` The credentials come from the Secret ${credentials.secretRef.name} of this namespace: is it there, and are its keys right?`;
    return { status: "False", reason: "Denied", message: `${message}${from}` };
  }
  const others = members.filter((each) => each !== told);
  const reaching = others.filter(reads).map((each) => each.member.name);
  if (told.member.role === "Primary" && reaching.length > 0) {
    const node = text(told.pod, "spec", "nodeName");
    const where = node === undefined ? "its network" : `the network of its node ${node}`;
    return {
      status: "False",
      reason: "PrimaryCutOff",
      message: `${message} ${reaching.join(", ")} ${reaching.length === 1 ? "reaches" : "reach"} it, so look at ${where}. ${name} serves on, and what it writes is not durable. To have another member lead: kubectl delete pod ${name}; what ${name} can't ship before it ends is put aside on its volume.`,
    };
  }
  const also = others.some((each) => each.document !== undefined) ? " No other member is known to reach it." : "";
  return { status: "False", reason: "Unreachable", message: `${message}${also}` };
}

/** What stands in names and numbers of slots says nothing. */
function isDenied(trouble: string): boolean {
  const words = trouble.replaceAll(/(s3|gs):\/\/\S+/g, "");
  return /denied|credentials|forbidden|(?:^|: )40[13] /i.test(words);
}
