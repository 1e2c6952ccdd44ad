import { basename, isAbsolute, relative } from "node:path";
import type { ImagePath } from "../formats/entry.js";

/** Where the databases are on this member's disk; the image's names are the same on every member, the directories need not be. */
export interface DatabaseLocation {
  readonly name: string;
  /** Absolute directory of the database. */
  readonly path: string;
  /** Absolute directory of its WALs if separate. */
  readonly walPath?: string | undefined;
}

export interface Layout {
  /** Absolute; companions are relative to it; `.metamaster/` lies in it. */
  readonly dataDirectory: string;
  /** In the order in which the master writes them. */
  readonly databases: readonly DatabaseLocation[];
  /** Paths or globs relative to dataDirectory. */
  readonly companions: readonly string[];
}

/** Every directory that a database has files in. */
export function directoriesOf(databases: readonly DatabaseLocation[]): string[] {
  return databases.flatMap(({ path, walPath }) => (walPath === undefined ? [path] : [path, walPath]));
}

export interface LayoutMap {
  /** Absolute local path of a file of the image; throws `ImagePathInvalid` (corrupt) for a path outside the layout. */
  toLocal(file: ImagePath): string;
}

/** The same databases below another directory: where they were below the data directory they stay so, others go by their name. */
export function layoutBelow(directory: string, { dataDirectory, databases, companions }: Layout): Layout {
  const place = (path: string, name: string): string => {
    const below = relative(dataDirectory, path);
    return `${directory}/${below !== "" && !below.startsWith("..") && !isAbsolute(below) ? below : name}`;
  };
  return {
    dataDirectory: directory,
    companions,
    databases: databases.map(({ name, path, walPath }) => ({
      name,
      path: place(path, name),
      ...(walPath === undefined ? {} : { walPath: place(walPath, `${name}-${basename(walPath)}`) }),
    })),
  };
}
