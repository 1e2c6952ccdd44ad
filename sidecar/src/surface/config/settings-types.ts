import { z } from "zod";
import { formatDuration, formatSize, parseDuration, parseSize } from "./units.js";

/** Beside zod's own: what would be right, for messages and for the reference. */
interface SettingMeta {
  readonly description: string;
  readonly expected: string;
}

interface Range {
  readonly min: number;
  readonly max?: number;
}

type WithDefault<Output, Input> = z.ZodPrefault<z.ZodType<Output, Input>>;

const refused = { message: "is not what is expected here" };

function rangeText({ min, max }: Range, format: (value: number) => string): string {
  return max === undefined ? `at least ${format(min)}` : `${format(min)} to ${format(max)}`;
}

function measured(
  parse: (text: string) => number | undefined,
  range: Range,
): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  return z.string().transform((word, context) => {
    const value = parse(word);
    if (value !== undefined && value >= range.min && value <= (range.max ?? Number.MAX_SAFE_INTEGER)) return value;
    context.addIssue({ code: "custom", ...refused });
    return z.NEVER;
  });
}

/** Milliseconds from `500ms`, `15s` ... */
export function duration(description: string, standard: string, range: Range): WithDefault<number, string> {
  const expected = `a duration like 500ms, 15s, 5m, 1h; ${rangeText(range, formatDuration)}`;
  return measured(parseDuration, range).prefault(standard).meta({ description, expected });
}

/** The same, for a setting whose default depends on others: `description` says on what. */
export function optionalDuration(description: string, range: Range): z.ZodOptional<z.ZodType<number, string>> {
  const expected = `a duration like 500ms, 15s, 5m, 1h; ${rangeText(range, formatDuration)}`;
  return measured(parseDuration, range).optional().meta({ description, expected });
}

/** Bytes from `64KiB`, `8MiB` ... */
export function size(description: string, standard: string, range: Range): WithDefault<number, string> {
  const expected = `a size like 64KiB, 8MiB, 2GiB; ${rangeText(range, formatSize)}`;
  return measured(parseSize, range).prefault(standard).meta({ description, expected });
}

export function integer(description: string, standard: number, range: Required<Range>): WithDefault<number, number> {
  const expected = `a whole number, ${rangeText(range, String)}`;
  return z.number().int().min(range.min).max(range.max).prefault(standard).meta({ description, expected });
}

export function flag(description: string, standard: boolean): WithDefault<boolean, boolean> {
  return z.boolean().prefault(standard).meta({ description, expected: "true or false" });
}

/** One of a few words; upper and lower case are the same. */
export function choice<const T extends string>(
  description: string,
  standard: T,
  values: readonly T[],
): WithDefault<T, string> {
  const made = z.string().transform((word, context): T => {
    const found = values.find((value) => value.toLowerCase() === word.toLowerCase());
    if (found !== undefined) return found;
    context.addIssue({ code: "custom", ...refused });
    return z.NEVER;
  });
  return made.prefault(standard).meta({ description, expected: values.join(" or ") });
}

/** Text that passes `test`. */
export function text(meta: SettingMeta, test: (value: string) => boolean): z.ZodType<string, string> {
  return z
    .string()
    .refine(test, refused)
    .meta({ ...meta });
}

export function optionalText(
  meta: SettingMeta,
  test: (value: string) => boolean,
): z.ZodOptional<z.ZodType<string, string>> {
  return z
    .string()
    .refine(test, refused)
    .optional()
    .meta({ ...meta });
}

/** Something made of the text by `parse`, which gives undefined for what it can't take. */
export function parsed<T>(meta: SettingMeta, parse: (value: string) => T | undefined): z.ZodType<T, string> {
  const made = z.string().transform((value, context): T => {
    const result = parse(value);
    if (result !== undefined) return result;
    context.addIssue({ code: "custom", ...refused });
    return z.NEVER;
  });
  return made.meta({ ...meta });
}
