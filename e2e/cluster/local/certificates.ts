import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const COMMON = [
  "req",
  "-x509",
  "-config",
  "openssl.cnf",
  "-newkey",
  "ec",
  "-pkeyopt",
  "ec_paramgen_curve:prime256v1",
  "-nodes",
  "-days",
  "3650",
];
// The system's own configuration would add extensions of its own.
const CONFIG = "[req]\ndistinguished_name = name\n[name]\n";
const EXTENSIONS = [
  "-addext",
  "basicConstraints=critical,CA:FALSE",
  "-addext",
  "extendedKeyUsage=serverAuth,clientAuth",
];

/** A certificate authority in a folder: `ca.crt`, `ca.key`, and `<name>.crt`, `<name>.key` for each that it issued. */
export class Authority {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async create(): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    await writeFile(this.path("openssl.cnf"), CONFIG);
    await this.#openssl("ca", ["-subj", "/CN=kubernetes", "-addext", "basicConstraints=critical,CA:TRUE"]);
  }

  /** For a subject such as `/O=system:masters/CN=admin`, and `DNS:` and `IP:` names. */
  async issue(name: string, subject: string, names: readonly string[] = []): Promise<void> {
    const alternatives = names.length > 0 ? ["-addext", `subjectAltName=${names.join(",")}`] : [];
    const signer = ["-CA", this.path("ca.crt"), "-CAkey", this.path("ca.key")];
    const serial = ["-set_serial", `0x01${randomBytes(15).toString("hex")}`];
    await this.#openssl(name, ["-subj", subject, ...signer, ...serial, ...EXTENSIONS, ...alternatives]);
  }

  path(file: string): string {
    return join(this.folder, file);
  }

  async read(file: string): Promise<string> {
    return readFile(this.path(file), "utf8");
  }

  async #openssl(name: string, args: readonly string[]): Promise<void> {
    const files = ["-keyout", this.path(`${name}.key`), "-out", this.path(`${name}.crt`)];
    await run("openssl", [...COMMON, ...args, ...files], { cwd: this.folder, timeout: 30_000 });
  }
}
