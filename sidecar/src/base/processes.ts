/** Tells one process from all others that ever ran on this machine. */
export interface ProcessIdentity {
  readonly pid: number;
  /** As the kernel counts it; another process of the same pid has another. */
  readonly startTime: string;
  /** Of this boot of the machine. */
  readonly bootId: string;
}

export interface Processes {
  readonly self: ProcessIdentity;
  /** Only asked about processes of this boot. */
  isAlive(identity: ProcessIdentity): Promise<boolean>;
}
