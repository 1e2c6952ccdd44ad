import { z } from "zod";

/** A rule in CEL that the API server evaluates at apply; `message` says what to do. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
}

export function rules(...list: readonly Rule[]): Record<string, unknown> {
  return { "x-kubernetes-validations": list };
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function milliseconds(text: string): number {
  const [, count = "0", unit = "ms"] = /^([0-9]+)(ms|s|m|h)$/.exec(text) ?? [];
  return Number(count) * (UNITS_MS[unit] ?? 1);
}

/** As the sidecar's settings take it: a whole number and one unit. */
export function duration(description: string, least: string, most: string): z.ZodString {
  const message = `must be a duration such as 500ms, 15s, 5m or 1h, between ${least} and ${most}`;
  return z
    .string()
    .max(10)
    .regex(/^[0-9]{1,8}(ms|s|m|h)$/)
    .refine((text) => milliseconds(text) >= milliseconds(least) && milliseconds(text) <= milliseconds(most), message)
    .meta({
      description,
      ...rules({
        rule: `duration(self) >= duration('${least}') && duration(self) <= duration('${most}')`,
        message,
      }),
    });
}

/** Bytes, as the sidecar's settings take them: a whole number and a binary unit. */
export function size(description: string): z.ZodString {
  return z
    .string()
    .max(12)
    .regex(/^[0-9]{1,9}(KiB|MiB|GiB|TiB)$/)
    .meta({ description });
}

/** A Kubernetes quantity; numbers are taken, too. */
export function quantity(description: string): z.ZodType<string, string | number> {
  return z
    .union([z.string().max(32), z.int()])
    .transform(String)
    .meta({
      description,
      "x-kubernetes-int-or-string": true,
      pattern: "^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
    });
}

/** Anything that Kubernetes itself checks when it is used. */
export function opaque(description: string): z.ZodType<Record<string, unknown>> {
  return z.looseObject({}).meta({ description, "x-kubernetes-preserve-unknown-fields": true });
}

/** A DNS label (RFC 1123). */
export function label(description: string, most = 63): z.ZodString {
  return z
    .string()
    .min(1)
    .max(most)
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
    .meta({ description });
}

export function strings(
  description: string,
  more: Record<string, unknown> = {},
): z.ZodRecord<z.ZodString, z.ZodString> {
  return z.record(z.string(), z.string().max(4096)).meta({ description, maxProperties: 64, ...more });
}

/** Below the data directory. */
export function relativePath(description: string): z.ZodString {
  const message = "must be a path below dataDirectory: relative, without '..' and without a leading '/'";
  return z
    .string()
    .min(1)
    .max(512)
    .refine((path) => !path.startsWith("/") && !path.split("/").includes(".."), message)
    .meta({
      description,
      ...rules({ rule: "!self.startsWith('/') && !self.split('/').exists(p, p == '..')", message }),
    });
}

/** Filled in by the API server, so that what is inside gets its defaults even where the user wrote nothing. */
export function section<T extends z.ZodRawShape>(
  description: string,
  shape: T,
  more: Record<string, unknown> = {},
): z.ZodPrefault<z.ZodObject<T>> {
  const object = z.object(shape);
  const empty: unknown = {};
  if (!isInput(object, empty)) throw new TypeError(`${description}: a field of it has no default`);
  return object.prefault(empty).meta({ description, default: {}, ...more });
}

function isInput<T extends z.ZodType>(schema: T, value: unknown): value is z.core.util.NoUndefined<z.input<T>> {
  return schema.safeParse(value).success;
}
