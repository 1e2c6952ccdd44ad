import { Agent, request } from "node:http";

/** Asks the sidecar that everything written so far is durable in the bucket; throws with its reason if it can't be. */
export class BarrierClient {
  readonly #url: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });

  /** `sidecar`: base URL of the sidecar's HTTP on this host, as in METAMASTER_URL. */
  constructor(sidecar: string) {
    this.#url = new URL("/v1/barrier", sidecar);
  }

  wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = request(this.#url, { method: "POST", agent: this.#agent }, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (chunk: string) => (text += chunk));
        answer.on("error", reject);
        answer.on("end", () => {
          if (answer.statusCode === 200) resolve();
          else reject(new Error(`barrier refused (HTTP ${answer.statusCode}): ${text.slice(0, 500)}`));
        });
      });
      call.on("error", reject);
      call.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** One barrier at a time, shared by all who ask while the one before is under way: a barrier covers whatever was written before it was asked. */
export class SharedBarrier {
  readonly #client: BarrierClient;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(client: BarrierClient) {
    this.#client = client;
  }

  wait(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.catch(() => undefined).then(() => this.#start());
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = undefined;
    const done = this.#client.wait().finally(() => {
      if (this.#running === done) this.#running = undefined;
    });
    this.#running = done;
    return done;
  }
}
