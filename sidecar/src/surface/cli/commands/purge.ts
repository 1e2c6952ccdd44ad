import { MetaMasterError } from "../../../base/errors.js";
import { headerText } from "../../../log/purge/fence.js";
import { purge, type Purged } from "../../../log/purge/purge.js";
import { SETTLE_MS_MIN } from "../../../log/still-there.js";
import { nothingHere, surveyPrefix, type Survey } from "../../../log/purge/survey.js";
import { LocalFolders } from "../../../replica/local-folders.js";
import { StateStore } from "../../../replica/state.js";
import { lifeSigns } from "../../compose/purge.js";
import { openStore } from "../../compose/store.js";
import type { LoadedConfig } from "../../config/load.js";
import { approximateSize } from "../../config/units.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";

export interface PurgeOptions {
  readonly yes: boolean;
  readonly evenIfAlive: boolean;
  readonly ifExists: boolean;
}

const LOOK_MS = 1000;
const PARALLEL = 16;
/** Operations of a bucket that may take effect although nobody waits for them any more. */
const WRITES: ReadonlySet<string> = new Set(["putIfAbsent", "put", "delete"]);
const TELL_OBJECTS = 10_000;

/** Removes the cluster from its bucket, or says what it would remove. */
export async function purgeCommand(context: CommandContext, options: PurgeOptions): Promise<number> {
  const { config } = await context.config();
  const { system, logger, signal, console } = context;
  const { clock } = system;
  let tries = 0;
  const store = await openStore(config, system, logger, {
    onCall: () => undefined,
    retried: (operation) => {
      if (WRITES.has(operation)) tries += 1;
    },
  });
  const signs = await lifeSigns(config, system);
  try {
    const bucket = store.steady;
    const survey = await surveyPrefix(bucket, signal);
    await expectOwn(survey, config, system);
    if (survey.identity === undefined && !options.ifExists) throw nothingHere(survey);
    if (!options.yes || survey.identity === undefined) {
      console.result(plain(survey, undefined), () => surveyText(survey));
      return exitCodes.ok.code;
    }
    const startMs = clock.monotonicMs();
    let told = 0;
    const onDeleted = (objects: number, bytes: number): void => {
      if (objects - told < TELL_OBJECTS) return;
      told = objects;
      console.note(`deleted ${objects} of about ${survey.objects} objects, ${approximateSize(bytes)}`);
    };
    const { lease } = config.election;
    const settings = {
      evenIfAlive: options.evenIfAlive,
      by: config.member,
      leaseMs: lease,
      lookMs: LOOK_MS,
      settleMs: Math.max(lease, SETTLE_MS_MIN),
      parallel: PARALLEL,
    };
    const components = { bucket, clock, logger, life: signs.life, onDeleted, triedAgain: () => tries };
    const purged = await purge(survey, settings, components, signal);
    const seconds = (clock.monotonicMs() - startMs) / 1000;
    console.result({ ...plain(survey, purged), seconds }, () => purgedText(survey, purged));
    return exitCodes.ok.code;
  } finally {
    signs.close();
    await store.single.close();
  }
}

/** On a machine of a member: is it the cluster that its disk belongs to? */
async function expectOwn(
  { identity, url }: Survey,
  { dataDirectory }: LoadedConfig["config"],
  { fs }: CommandContext["system"],
): Promise<void> {
  const found = await new StateStore(fs, new LocalFolders(dataDirectory)).read();
  if (found.found !== "state" || identity === undefined || found.state.cluster === identity.uid) return;
  throw new MetaMasterError(
    "ForeignCluster",
    "invalid",
    `${url} belongs to the cluster ${identity.uid}, the data in ${dataDirectory} to ${found.state.cluster}. Nothing was deleted.`,
    {
      details: { found: identity.uid, expected: found.state.cluster },
      hint: "Check `bucket.url`. To delete that cluster nevertheless, run the command with a dataDirectory that is empty.",
    },
  );
}

function plain({ url, identity, begun, end, objects, bytes, others }: Survey, purged: Purged | undefined): object {
  const { member } = end.header?.writer ?? {};
  return {
    url,
    cluster: identity?.uid,
    begunBefore: begun,
    lastSlot: end.slot,
    lastWriter: member,
    lastWritten: end.header && new Date(end.header.wallTimeMs).toISOString(),
    found: { objects, bytes },
    ...(purged === undefined ? {} : { deleted: purged }),
    left: others,
  };
}

function surveyText(survey: Survey): string {
  const { url, identity, begun, end, objects, bytes } = survey;
  if (identity === undefined)
    return [`There is no cluster in ${url}: nothing to delete.`, ...leftText(survey)].join("\n");
  return [
    `${url} holds the cluster ${identity.uid}, made ${identity.createdAt}${begun ? "; an earlier purge has begun to delete it" : ""}`,
    `last entry    ${end.header === undefined ? (end.fenced ? "the end that a purge put there" : "-") : headerText(end.header)}`,
    `would delete  ${objects} objects, ${approximateSize(bytes)}`,
    ...leftText(survey),
    "Nothing was deleted. To delete it: the same command with --yes. It can't be undone, unless the bucket keeps versions.",
  ].join("\n");
}

function purgedText(survey: Survey, { objects, bytes }: Purged): string {
  const uid = survey.identity?.uid ?? "";
  return [
    `deleted the cluster ${uid} from ${survey.url}: ${objects} objects, ${approximateSize(bytes)}`,
    ...leftText(survey),
  ].join("\n");
}

function leftText({ others: { keys, count, whole } }: Survey): string[] {
  if (count === 0) return [];
  const more = count > keys.length ? [`  ... and ${whole ? "" : "at least "}${count - keys.length} more`] : [];
  return [
    `not MetaMaster's, left where they are: ${whole ? "" : "at least "}${count}`,
    ...keys.map((key) => `  ${key}`),
    ...more,
  ];
}
