import { posix } from "node:path";
import { WATCHDOG_CONTAINER, type Spec } from "../../../crds/src/index.js";
import { ownProgram, type OwnContainer } from "./own-container.js";
import { sidecarSecurity } from "./security.js";

// The watchdog of a pod (docs/decisions/0013): beside the sidecar, and never one with it. What takes the sidecar away, such as an end for its memory, takes all that is in its container.

const VOLUME = "metamaster-watchdog";
const DIRECTORY = "/run/metamaster";
const SOCKET = `${DIRECTORY}/watchdog.sock`;
/** What it has of its own: the program's file is in memory once for both. */
const RESOURCES = { requests: { cpu: "10m", memory: "24Mi" } };
/** Nobody needs more than a kilobyte; in memory, because a node without space must not keep the two apart. */
const SIZE = "1Mi";

/** The sidecar finds it by this. */
export const watchdogEnv = { name: "METAMASTER_WATCHDOG_SOCKET", value: SOCKET };
export const watchdogMount = { name: VOLUME, mountPath: DIRECTORY };
export const watchdogVolume = { name: VOLUME, emptyDir: { medium: "Memory", sizeLimit: SIZE } };

/** No start-up probe: the sidecar opens no gate before this one has answered. `data`: the mount of the sidecar's data. */
export function watchdog(spec: Spec, image: string, data: object): OwnContainer {
  const { dataDirectory, databases, sidecar } = spec;
  return {
    ...ownProgram(spec, image, WATCHDOG_CONTAINER),
    args: [
      "watchdog",
      `--socket=${SOCKET}`,
      `--shelf=${posix.join(dataDirectory, ".metamaster/locks")}`,
      ...databases.map(({ name, path }) => `--database=${name}=${posix.join(dataDirectory, path)}`),
    ],
    restartPolicy: "Always",
    env: [{ name: "NODE_OPTIONS", value: "--max-old-space-size=16 --max-semi-space-size=1" }],
    resources: sidecar.watchdogResources ?? RESOURCES,
    securityContext: sidecarSecurity(spec),
    volumeMounts: [data, watchdogMount],
  };
}
