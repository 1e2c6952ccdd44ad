import type { Download } from "./download.js";

/**
 * The requests of S3 that the product makes, one try each. Keys are full. Rejects with whatever the client throws; s3-bucket.ts turns
 * that into errors of ours.
 */
export interface S3Api {
  putObject(request: {
    readonly key: string;
    readonly body: Uint8Array;
    /** Of the body, if it is known. */
    readonly sha256?: string | undefined;
    readonly ifAbsent: boolean;
    readonly signal: AbortSignal;
  }): Promise<void>;
  /** `range`: as in the header, `bytes=0-9`. `ranged` tells whether the answer is that range; `total` is the object's whole size then. */
  getObject(request: {
    readonly key: string;
    readonly range: string | undefined;
    readonly signal: AbortSignal;
  }): Promise<Download & { readonly ranged: boolean; readonly total: number | undefined }>;
  headObject(key: string, signal: AbortSignal): Promise<number>;
  listObjects(request: {
    readonly prefix: string;
    readonly startAfter: string | undefined;
    readonly limit: number;
    readonly signal: AbortSignal;
  }): Promise<{ readonly objects: readonly { readonly key: string; readonly size: number }[]; readonly more: boolean }>;
  deleteObject(key: string, signal: AbortSignal): Promise<void>;
  /** Gives the upload's id. */
  createUpload(key: string, signal: AbortSignal): Promise<string>;
  /** Gives the part's etag. */
  uploadPart(upload: S3Upload, part: number, body: Uint8Array, signal: AbortSignal): Promise<string>;
  /** `etags` in the order of the parts, from part 1. */
  completeUpload(upload: S3Upload, etags: readonly string[], signal: AbortSignal): Promise<void>;
  abortUpload(upload: S3Upload, signal: AbortSignal): Promise<void>;
  close(): void;
}

export interface S3Upload {
  readonly key: string;
  readonly id: string;
}
