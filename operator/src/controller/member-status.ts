import { z } from "zod";

const MS_MAX = 2000;
const BYTES_MAX = 1 << 20;

const failover = z.looseObject({
  cause: z.string(),
  from: z.string().optional(),
  to: z.string(),
  epoch: z.number(),
  atWallMs: z.number(),
  detectMs: z.number().optional(),
  leaseMs: z.number().optional(),
  drainMs: z.number().optional(),
  claimMs: z.number().optional(),
  openMs: z.number().optional(),
  firstWriteMs: z.number().optional(),
});

/** What the operator needs of a member's `GET /v1/status`; fields are only ever added there. */
const document = z.looseObject({
  /** Once there is a member. */
  clusterUid: z.string().optional(),
  role: z.enum(["Syncing", "Standby", "Promoting", "Primary", "Fencing", "Halted"]),
  reason: z.string(),
  epoch: z.number(),
  since: z.string(),
  position: z.looseObject({ slot: z.number() }).optional(),
  ship: z
    .looseObject({
      durableLagSeconds: z.number(),
      lastCheckpointSlot: z.number().optional(),
      lastCheckpointWallMs: z.number().optional(),
      trouble: z.string().optional(),
    })
    .optional(),
  halt: z.looseObject({ reason: z.string(), message: z.string().optional(), remedy: z.string() }).optional(),
  trouble: z.string().optional(),
  bucketTrouble: z.string().optional(),
  lastFailover: failover.optional(),
});

export type MemberDocument = z.output<typeof document>;

/** Asks a member's sidecar; undefined: no good answer came in time, and what it is isn't known. */
export async function readMemberStatus(url: string): Promise<MemberDocument | undefined> {
  try {
    const answer = await fetch(`${url}/v1/status`, { signal: AbortSignal.timeout(MS_MAX), redirect: "error" });
    const length = Number(answer.headers.get("content-length") ?? 0);
    if (!answer.ok || length > BYTES_MAX) {
      await answer.body?.cancel();
      return undefined;
    }
    return document.parse(await answer.json());
  } catch {
    // A pod that starts, ends or is cut off does not answer: that is what "not known" is for.
    return undefined;
  }
}
