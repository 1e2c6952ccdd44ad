import { MetaMasterError } from "../base/errors.js";
import { scrub } from "./store-errors.js";

/** Why no bucket can be opened by this url, without having asked any store; undefined: one may be. */
export function bucketUrlFault(text: string): string | undefined {
  if (!URL.canParse(text)) return "it is no url";
  const url = new URL(text);
  if (url.username !== "" || url.password !== "")
    return "it holds credentials; they would end up in logs. Give them in the way of the store's SDK";
  if (url.search !== "" || url.hash !== "") return "it has a ? or a #; options have their own settings";
  if (url.protocol === "file:")
    return url.host === "" ? undefined : "a file url has three slashes (file:///folder); the part after two is a host";
  if (url.protocol !== "s3:" && url.protocol !== "gs:") return `its scheme ${url.protocol} is unknown`;
  if (url.port !== "") return "a bucket has no port; the store's address is the setting `endpoint`";
  const bucket = url.hostname;
  if (bucket === "") return "it names no bucket";
  return /^[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]$/.test(bucket)
    ? undefined
    : `${JSON.stringify(bucket)} is no name of a bucket`;
}

export function parseBucketUrl(text: string): URL {
  const why = bucketUrlFault(text);
  if (why === undefined) return new URL(text);
  throw new MetaMasterError(
    "BucketUrlInvalid",
    "invalid",
    `The bucket url ${JSON.stringify(shownUrl(text))} can't be used: ${why}.`,
    { hint: "Give s3://bucket/prefix, gs://bucket/prefix or file:///absolute/folder." },
  );
}

/** Without what comes before an @ or after a ?: in a url that is wrong anyway, a password may stand anywhere there. */
export function shownUrl(text: string): string {
  return scrub(text.replace(/[?#].*$/s, "?***").replace(/^.*@/s, "***@"));
}
