import type { Clock } from "../base/clock.js";
import type { FileSystem } from "../base/file-system.js";
import type { Logger } from "../base/log.js";
import type { Bucket } from "../bucket/bucket.js";
import type { LogReader } from "../log/log.js";
import type { ImageLayout } from "./layout-map.js";
import type { LocalFolders } from "./local-folders.js";
import type { Progress } from "./progress.js";
import type { FetchSettings } from "./table-fetch.js";

/** Who this run is; goes into the local state. */
export interface RunIdentity {
  readonly member: string;
  readonly nonce: string;
  /** Of the machine's current boot. */
  readonly bootId: string;
}

/** What following, restoring and reconciling are made of. */
export interface ReplicaTools {
  readonly fs: FileSystem;
  readonly clock: Clock;
  /** With retries: a transient error means that it was given up. */
  readonly bucket: Bucket;
  readonly reader: LogReader;
  readonly logger: Logger;
  readonly progress: Progress;
  readonly layout: ImageLayout;
  readonly folders: LocalFolders;
  readonly fetch: FetchSettings;
}
