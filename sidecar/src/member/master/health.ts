/** How the master's health is asked for. `None`: it is healthy while its process lives. */
export type HealthCheck =
  | { readonly type: "None" }
  /** Exit code 0 within the time-out. */
  | { readonly type: "Exec"; readonly command: readonly [string, ...string[]] }
  /** A status of 200 to 399 within the time-out; redirects are not followed. */
  | { readonly type: "Http"; readonly url: string }
  /** A connection within the time-out. */
  | { readonly type: "Tcp"; readonly host: string; readonly port: number };

export interface Health {
  readonly ok: boolean;
  readonly reason: string;
}

/** One question; never throws, ends soon after `signal` aborts. */
export type HealthProbe = (signal: AbortSignal) => Promise<Health>;
