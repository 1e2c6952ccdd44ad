/** The part of the `rocksdb-native` binding (RocksDB 10.5) that the example uses; the package ships no types. */
declare module "rocksdb-native" {
  interface Entry {
    readonly key: Buffer;
    readonly value: Buffer;
  }
  export default class RocksDB {
    constructor(path: string, options?: { readonly readOnly?: boolean });
    ready(): Promise<void>;
    get(key: string): Promise<Buffer | null>;
    put(key: string, value: string): Promise<void>;
    delete(key: string): Promise<void>;
    flush(): Promise<void>;
    iterator(
      range: { readonly gt?: string; readonly gte?: string; readonly lt?: string },
      options?: { readonly limit?: number },
    ): AsyncIterable<Entry>;
    close(): Promise<void>;
  }
}
