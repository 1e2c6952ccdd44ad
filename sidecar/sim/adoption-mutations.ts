import { hasCode } from "../src/base/errors.js";
import { EMPTY_IMAGE, type ImageState } from "../src/formats/image.js";
import type { LogReader } from "../src/log/log.js";
import { withFaults, type Mutation } from "./mutation.js";
import type { Profile } from "./profile.js";

/** Databases that the history does not hold are adopted all the same, behind what is there. */
export function adoptBesideHistory(): Mutation {
  return {
    adjust: adopting,
    components: (components) => ({
      ...components,
      reconcile: async (signal) => {
        try {
          return await components.reconcile(signal);
        } catch (error) {
          if (!hasCode(error, "ForeignDatabase") && !hasCode(error, "NotInHistory")) throw error;
          return { state: "Adoptable", image: await endOf(components.reader, signal) };
        }
      },
    }),
  };
}

async function endOf(reader: LogReader, signal: AbortSignal): Promise<ImageState> {
  let image = EMPTY_IMAGE;
  for (;;) {
    const entry = await reader.next(image.position, signal);
    if (entry === undefined) return image;
    const claims = entry.header.kind === "claim" ? [...image.claims, entry.header.slot] : image.claims;
    image = { ...image, position: entry.position, epoch: entry.header.epoch, claims };
  }
}

/** Who has no databases does not wait for who has some. */
export function beginWithNothing(): Mutation {
  return { adjust: adopting, settings: (settings) => ({ ...settings, bootstrap: "New" }) };
}

function adopting(profile: Profile): Profile {
  const plain = withFaults(profile, { crash: 3, freeze: 1 });
  return { ...plain, adopts: { steps: 150, second: "Others", diesAt: undefined } };
}
