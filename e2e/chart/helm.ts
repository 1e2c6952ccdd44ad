import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseAllDocuments } from "yaml";
import { runClient } from "../cluster/client.js";
import { buildPrograms, sourceFolder } from "../cluster/programs.js";

/** The repository's folder: charts are not copied to `dist`, from where this may run. */
export const root = dirname(dirname(sourceFolder()));
export const chart = join(root, "charts/metamaster");
/** Helm built here knows of no Kubernetes version by itself. */
const KUBERNETES = "1.34.0";

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly [field: string]: unknown;
}

/** The real helm, with a folder of its own for what it keeps. */
export class Helm {
  readonly #program: string;
  readonly #home: string;

  private constructor(program: string, home: string) {
    this.#program = program;
    this.#home = home;
  }

  static async open(): Promise<Helm> {
    const { helm } = await buildPrograms(["helm"], (line) => console.log(line));
    return new Helm(helm, await mkdtemp(join(tmpdir(), "metamaster-helm-")));
  }

  async close(): Promise<void> {
    await rm(this.#home, { recursive: true, force: true });
  }

  /** Gives what it printed, throws what it complained of. */
  async run(args: readonly string[], kubeconfig = "/dev/null", stdin = ""): Promise<string> {
    const home = [
      `HELM_CACHE_HOME=${this.#home}`,
      `HELM_CONFIG_HOME=${this.#home}`,
      `HELM_DATA_HOME=${this.#home}`,
      this.#program,
    ];
    return runClient(["env", ...home], kubeconfig, args, stdin);
  }

  /** The text for release `metamaster` in namespace `metamaster-system`. */
  async template(values: Readonly<Record<string, unknown>> = {}, release = "metamaster"): Promise<string> {
    const args = ["template", release, chart, "-n", "metamaster-system", "--kube-version", KUBERNETES, "-f", "-"];
    return this.run(args, undefined, JSON.stringify(values));
  }

  async manifests(values: Readonly<Record<string, unknown>> = {}, release = "metamaster"): Promise<Manifest[]> {
    return manifestsOf(await this.template(values, release));
  }
}

function manifestsOf(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(`not YAML: ${document.errors[0]?.message}`);
    const manifest = document.toJS() as Manifest | null;
    return manifest === null ? [] : [manifest];
  });
}
