import { sha256Hex } from "../../base/sha256.js";
import type { Digest, ImagePath, Operation } from "../../formats/entry.js";
import type { ImageState } from "../../formats/image.js";

export type ShippedFile =
  | { readonly kind: "append"; readonly size: number }
  | {
      readonly kind: "table";
      readonly size: number;
      readonly sha256: Digest;
      readonly key: string;
      readonly permissions: number;
    }
  | { readonly kind: "small"; readonly sha256: Digest; readonly permissions: number }
  | { readonly kind: "directory"; readonly permissions: number };

/**
 * What the image holds once every entry handed to the writer is durable: what the next entry is planned against. (The durable image lags
 * behind it by the entries in flight; if one of them fails, this epoch is over and so is this object.)
 */
export class Shipped {
  readonly #files = new Map<ImagePath, ShippedFile>();
  /** Object keys that files of the image refer to, with their count, by digest. */
  readonly #keys = new Map<Digest, { readonly key: string; users: number }>();

  constructor(image: ImageState) {
    for (const [path, file] of image.files) {
      if (file.kind === "append") this.#set(path, { kind: "append", size: file.size });
      else if (file.kind === "small") {
        this.#set(path, { kind: "small", sha256: sha256Hex(file.bytes), permissions: file.permissions });
      } else if (file.kind === "table") {
        const { size, sha256, key, permissions } = file;
        this.#set(path, { kind: "table", size, sha256, key, permissions });
      } else this.#set(path, { kind: "directory", permissions: file.permissions });
    }
  }

  get files(): ReadonlyMap<ImagePath, ShippedFile> {
    return this.#files;
  }

  /** Bytes of a WAL or MANIFEST in the image; undefined if it is not there. */
  sizeOf(file: ImagePath): number | undefined {
    const known = this.#files.get(file);
    return known?.kind === "append" ? known.size : undefined;
  }

  /** The key of an object with that content that the image refers to. */
  keyOf(sha256: Digest): string | undefined {
    return this.#keys.get(sha256)?.key;
  }

  apply(operation: Operation): void {
    switch (operation.type) {
      case "append":
        this.#set(operation.file, { kind: "append", size: operation.offset + operation.bytes.length });
        break;
      case "write":
        this.#set(operation.file, {
          kind: "small",
          sha256: sha256Hex(operation.bytes),
          permissions: operation.permissions,
        });
        break;
      case "table": {
        const { size, sha256, key, permissions } = operation;
        this.#set(operation.file, { kind: "table", size, sha256, key, permissions });
        break;
      }
      case "directory":
        this.#set(operation.file, { kind: "directory", permissions: operation.permissions });
        break;
      case "remove":
        this.#forget(operation.file);
        break;
      case "handover":
      case "trim":
        break;
    }
  }

  #set(path: ImagePath, file: ShippedFile): void {
    this.#forget(path);
    this.#files.set(path, file);
    if (file.kind !== "table") return;
    const known = this.#keys.get(file.sha256);
    if (known === undefined) this.#keys.set(file.sha256, { key: file.key, users: 1 });
    else known.users++;
  }

  #forget(path: ImagePath): void {
    const file = this.#files.get(path);
    if (file === undefined) return;
    this.#files.delete(path);
    if (file.kind !== "table") return;
    const known = this.#keys.get(file.sha256);
    if (known !== undefined && --known.users === 0) this.#keys.delete(file.sha256);
  }
}
