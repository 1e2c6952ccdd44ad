import { IMAGE_PATH_BYTES_MAX } from "./entry.js";

/** Undefined if `path` may name a file of an image, else what is wrong with it. */
export function imagePathFault(path: string): string | undefined {
  if (Buffer.byteLength(path) > IMAGE_PATH_BYTES_MAX) return `is longer than ${IMAGE_PATH_BYTES_MAX} bytes`;
  const segments = path.split("/");
  if (segments.length < 2) return "names no file below a database";
  if (segments.some((segment) => segment === "" || segment === "." || segment === ".."))
    return "has an empty, '.' or '..' segment";
  if (segments.includes(".metamaster")) return "points into .metamaster";
  for (const character of path) if (character < " " || character === "\u007f") return "has a control character";
  return undefined;
}
