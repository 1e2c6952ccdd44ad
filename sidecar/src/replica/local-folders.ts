/** Everything of ours on a member's disk lies in `<data>/.metamaster/`; the shipper's links are in `links/` (ship/links.ts). */
export class LocalFolders {
  readonly root: string;
  /** What this directory is, and where in history (state.ts). */
  readonly state: string;
  readonly lock: string;
  /** Of the socket of the process that uses the directory (base/presence.ts). */
  readonly alive: string;
  /** Tables on their way, by digest; survives a kill so that nothing is fetched twice. */
  readonly incoming: string;
  /** New contents before they are renamed into place. */
  readonly staging: string;
  readonly links: string;
  readonly quarantine: string;
  /** RocksDB's `LOCK` files that a bar stands in the place of (member/master/lock-bar.ts). */
  readonly locks: string;

  constructor(dataDirectory: string) {
    this.root = `${dataDirectory}/.metamaster`;
    this.state = `${this.root}/state.json`;
    this.lock = `${this.root}/lock`;
    this.alive = `${this.root}/alive`;
    this.incoming = `${this.root}/incoming`;
    this.staging = `${this.root}/staging`;
    this.links = `${this.root}/links`;
    this.quarantine = `${this.root}/quarantine`;
    this.locks = `${this.root}/locks`;
  }
}
