import { hasCode } from "../src/base/errors.js";
import type { FileSystem } from "../src/base/file-system.js";
import type { SeedParts } from "../src/replica/seed.js";
import type { Mutation } from "./mutation.js";
import { overriding } from "./patching.js";
import type { Profile, SeedPlan } from "./profile.js";

function changed(change: (parts: SeedParts) => SeedParts): Pick<Mutation, "family" | "seed"> {
  return { family: "Seed", seed: (run) => (parts, signal) => run(change(parts), signal) };
}

/** Every member fetches what it begins with. */
export function seedEveryMember(): Mutation {
  return {
    ...changed((parts) => ({ ...parts, source: parts.source && { ...parts.source, member: parts.member } })),
    adjust: (profile) => ({ ...seeding(profile, { lateMs: profile.leaseMs, trouble: "None" }), members: 3 }),
  };
}

/** The slot that was chosen is forgotten. */
export function seedNewestInstead(): Mutation {
  return {
    ...changed((parts) => ({ ...parts, source: parts.source && { ...parts.source, slot: undefined } })),
    adjust: (profile) => seeding(profile, { slotShare: 0.5, trouble: "None", source: "Lives" }),
  };
}

/** What can't be had is done without. */
export function seedOrBeginEmpty(): Mutation {
  return {
    family: "Seed",
    adjust: (profile) => seeding(profile, { trouble: "Away", troubleMs: 0, source: "Lives" }),
    settings: (settings) => ({ ...settings, bootstrap: "New" }),
    seed: (run) => async (parts, signal) => {
      try {
        await run(parts, signal);
      } catch (error) {
        if (!hasCode(error, "BootstrapSourceUnusable")) throw error;
      }
    },
  };
}

/** Somebody leaves a note where the state was fetched. */
export function seedWritesToSource(): Mutation {
  return {
    ...changed((parts) => ({
      ...parts,
      openSource: async (source, layout, signal) => {
        const opened = await parts.openSource(source, layout, signal);
        await opened.tools.bucket.putIfAbsent("standbys/copied", new Uint8Array(1), { signal });
        return opened;
      },
    })),
    adjust: (profile) => seeding(profile, { trouble: "None" }),
  };
}

/** What the restoring knew of the other cluster is moved as well. */
export function seedKeepsOthersState(): Mutation {
  return {
    ...changed(
      withFiles((fs) =>
        overriding(fs, {
          removeTree: async (path) => (path.endsWith("/data/.metamaster") ? undefined : await fs.removeTree(path)),
        }),
      ),
    ),
    adjust: (profile) => seeding(profile, { trouble: "None", slotShare: undefined, source: "Stopped" }),
  };
}

/** What was begun to be restored is taken for whole. */
export function seedTrustsHalf(): Mutation {
  return {
    ...changed(
      withFiles((fs) =>
        overriding(fs, {
          stat: async (path) =>
            (await fs.stat(path)) ?? (isWhole(path) ? await fs.stat(path.replace(/whole\.json$/, "data")) : undefined),
          readFile: async (path, maxBytes) =>
            isWhole(path) && (await fs.stat(path)) === undefined
              ? Buffer.from(`{"slot":0}`)
              : await fs.readFile(path, maxBytes),
        }),
      ),
    ),
    adjust: (profile) => dying(profile, {}),
  };
}

function isWhole(path: string): boolean {
  return path.endsWith("/seed/whole.json");
}

function withFiles(change: (fs: FileSystem) => FileSystem): (parts: SeedParts) => SeedParts {
  return (parts) => ({ ...parts, tools: { ...parts.tools, fs: change(parts.tools.fs) } });
}

function dying(profile: Profile, change: Partial<SeedPlan>): Profile {
  return seeding(profile, {
    trouble: "None",
    slotShare: undefined,
    source: "Lives",
    deaths: 6,
    diesWithin: 500,
    ...change,
  });
}

function seeding(profile: Profile, change: Partial<SeedPlan>): Profile {
  const { seed } = profile;
  return seed === undefined ? profile : { ...profile, seed: { ...seed, ...change } };
}
