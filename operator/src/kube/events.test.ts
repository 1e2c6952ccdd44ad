import { expect, test } from "@jest/globals";
import { withoutChance, type PodOwner } from "./events.js";

const job: PodOwner = { kind: "Job", namespace: "storage", name: "meta-purge" };
const set: PodOwner = { kind: "StatefulSet", namespace: "storage", name: "meta" };
const quota = "is forbidden: exceeded quota: q, requested: pods=1";

test.each([
  [job, `Error creating: pods "meta-purge-x7k2p" ${quota}`, `Error creating: pods "meta-purge-..." ${quota}`],
  [
    job,
    `(combined from similar events): Error creating: pods "meta-purge-bbbbb" ${quota}`,
    `Error creating: pods "meta-purge-..." ${quota}`,
  ],
  [
    job,
    'Error creating: pods "meta-purge-" is forbidden: error looking up service account storage/meta',
    'Error creating: pods "meta-purge-" is forbidden: error looking up service account storage/meta',
  ],
  [
    set,
    "create Pod meta-0 in StatefulSet meta failed: meta-store",
    "create Pod meta-0 in StatefulSet meta failed: meta-store",
  ],
])("what is said of one cause is the same each time", (owner, message, expected) => {
  expect(withoutChance(message, owner)).toBe(expected);
});
