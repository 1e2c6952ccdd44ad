import type { Bucket } from "../src/bucket/bucket.js";
import type { Claim, LogReader, LogWriter } from "../src/log/log.js";
import type { Election } from "../src/member/election.js";
import type { MemberComponents } from "../src/member/context.js";
import type { Follower, Shipper } from "../src/replica/replica.js";

/** A planted bug: parts of the real code, replaced or wrapped from outside. Nothing here: the code as it is. */
export interface Mutation {
  readonly bucket?: (bucket: Bucket) => Bucket;
  readonly reader?: (reader: LogReader) => LogReader;
  readonly claim?: (claim: Claim) => Claim;
  readonly writer?: (writer: LogWriter) => LogWriter;
  readonly shipper?: (shipper: Shipper) => Shipper;
  readonly follower?: (follower: Follower) => Follower;
  readonly election?: (election: Election) => Election;
  readonly components?: (components: MemberComponents) => MemberComponents;
}

export const noMutation: Mutation = {};
