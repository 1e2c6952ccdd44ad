import type { Clock } from "../base/clock.js";
import { messageOf, MetaMasterError } from "../base/errors.js";
import type { Bucket } from "./bucket.js";
import { readSmallFile, withReread, type Reread } from "./reread.js";

const fileBytesMax = 1024 * 1024;
/** What the store's certificate needs is looked for at once when it is refused; what is no longer to be trusted may wait so long. */
const lookMs = 10_000;

/** The PEM file of the CA that signed the store's certificate: read again when it changes, so that a rotation needs no restart. */
export class CaFile {
  readonly path: string;
  readonly #clock: Clock;
  readonly #listeners: ((pem: string) => void)[] = [];
  #pem: string;
  #readMs: number;
  #reading: Promise<void> | undefined;
  /** Why it could not be read last; what was read before counts until it can. */
  #trouble: string | undefined;

  private constructor(path: string, pem: string, clock: Clock) {
    this.path = path;
    this.#pem = pem;
    this.#clock = clock;
    this.#readMs = clock.monotonicMs();
  }

  /** Throws `BucketTlsInvalid` (invalid) if there is no certificate in it. */
  static async open(path: string, clock: Clock): Promise<CaFile> {
    return new CaFile(path, await readCertificates(path), clock);
  }

  get pem(): string {
    return this.#pem;
  }

  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Told of what it holds, now and whenever that changes. */
  attach(listener: (pem: string) => void): void {
    this.#listeners.push(listener);
    listener(this.#pem);
  }

  /** Looks unless somebody has lately. */
  async keepFresh(): Promise<void> {
    if (this.#clock.monotonicMs() - this.#readMs >= lookMs) await this.#look();
  }

  /** Looks at once: is it another one than `pem`? */
  async changedSince(pem: string): Promise<boolean> {
    await this.#reading;
    await this.#look();
    return this.#pem !== pem;
  }

  #look(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<void> {
    this.#readMs = this.#clock.monotonicMs();
    try {
      const pem = await readCertificates(this.path);
      this.#trouble = undefined;
      if (pem === this.#pem) return;
      this.#pem = pem;
      for (const listener of this.#listeners) listener(pem);
    } catch (error) {
      this.#trouble = messageOf(error);
    }
  }
}

/** A call that fails because the store's certificate isn't trusted is made once more if there is another CA by now. */
export function withCaOf(ca: CaFile, bucket: Bucket): Bucket {
  const reread: Reread<string> = {
    code: "BucketTlsInvalid",
    now: async () => {
      await ca.keepFresh();
      return ca.pem;
    },
    changedSince: (pem) => ca.changedSince(pem),
    explain: (error) => untrusted(error, ca),
  };
  return withReread(reread, bucket);
}

function untrusted(error: MetaMasterError, { path, trouble }: CaFile): MetaMasterError {
  const { code, kind, message, hint = "", details, cause } = error;
  const now = trouble === undefined ? "" : ` Now: ${trouble}`;
  return new MetaMasterError(code, kind, message, {
    cause,
    hint: `${hint} The CA is taken from ${path}, and read again without a restart once it changes there.${now}`,
    details,
  });
}

async function readCertificates(path: string): Promise<string> {
  let pem: string;
  try {
    pem = await readSmallFile(path, fileBytesMax);
  } catch (error) {
    throw badCa(path, messageOf(error), error);
  }
  // Half a file, as a copy that is under way leaves it, is no better than none.
  const [begun, ended] = ["BEGIN", "END"].map((mark) => pem.split(`-----${mark} CERTIFICATE-----`).length - 1);
  if (begun === 0) throw badCa(path, "it holds no certificate in PEM form");
  if (begun !== ended) throw badCa(path, "a certificate in it does not end");
  return pem;
}

function badCa(path: string, why: string, cause?: unknown): MetaMasterError {
  return new MetaMasterError("BucketTlsInvalid", "invalid", `The CA file ${path} can't be used: ${why}.`, {
    cause,
    hint: "Give the PEM file of the CA that signed the store's certificate.",
    details: { path },
  });
}
