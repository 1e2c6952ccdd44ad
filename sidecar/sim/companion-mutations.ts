import type { Operation } from "../src/formats/entry.js";
import { COMPANIONS, CompanionFinder, type CompanionListing } from "../src/replica/ship/companions.js";
import { withFaults, type Mutation } from "./mutation.js";
import { overriding, patched } from "./patching.js";
import type { Profile } from "./profile.js";

/** What lies beside the databases is looked at now and then, not in every cut. */
export function companionsOutsideTheCut(): Mutation {
  const seen = new WeakMap<CompanionFinder, { readonly listing: Promise<CompanionListing>; uses: number }>();
  return {
    adjust: withNotes,
    install: () =>
      patched(
        CompanionFinder.prototype,
        "list",
        (list) =>
          function (this: CompanionFinder) {
            const known = seen.get(this);
            if (known !== undefined && known.uses++ < 12) return known.listing;
            const listing = list.call(this);
            seen.set(this, { listing, uses: 0 });
            return listing;
          },
      ),
  };
}

/** Companions go out with the next entry that has some, not with the databases that refer to them. */
export function companionsComeLater(): Mutation {
  return {
    adjust: withNotes,
    writer: (writer) => {
      const late = new Map<string, Operation>();
      return overriding(writer, {
        append: (draft, signal) => {
          const fresh = new Map(draft.operations.flatMap((operation) => companionOf(operation)));
          if (fresh.size === 0 || draft.more) return writer.append(draft, signal);
          const operations = draft.operations.filter((operation) => {
            if (companionOf(operation).length === 0) return true;
            return operation.type === "remove" && !late.delete(operation.file);
          });
          operations.unshift(...late.values());
          late.clear();
          for (const [file, operation] of fresh) if (operation.type !== "remove") late.set(file, operation);
          return writer.append({ ...draft, operations }, signal);
        },
      });
    },
  };
}

function companionOf(operation: Operation): [string, Operation][] {
  return "file" in operation && operation.file.startsWith(`${COMPANIONS}/`) ? [[operation.file, operation]] : [];
}

function withNotes(profile: Profile): Profile {
  const plain = withFaults(profile, { crash: 1, wipe: 3 });
  const { workload, process } = plain.master;
  return {
    ...plain,
    master: {
      workload: { ...workload, note: true, noteBytes: 0, forgetsOnReopen: false },
      process: { ...process, jobEveryMs: 60 },
    },
  };
}
