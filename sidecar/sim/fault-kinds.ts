const kinds = [
  "crash",
  "crashSidecar",
  "crashBetween",
  "killMaster",
  "power",
  "freeze",
  "freezeSidecar",
  "wipe",
  "hang",
  "undying",
  "stop",
  "switchover",
  "checkpoint",
  "cut",
  "outage",
  "clock",
  "diskFull",
  "scaleOut",
] as const;

export type Fault = (typeof kinds)[number];

/** How likely each is beside the others. */
export type FaultWeights = Readonly<Record<Fault, number>>;

export const noFaultWeights = Object.fromEntries(kinds.map((kind) => [kind, 0])) as FaultWeights;
