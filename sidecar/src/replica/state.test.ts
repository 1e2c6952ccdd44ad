import { describe, expect, test } from "@jest/globals";
import { hasCode } from "../base/errors.js";
import { EMPTY_IMAGE } from "../formats/image.js";
import { decodeState, encodeState, type LocalState } from "./state.js";

const digest = "ab".repeat(32);
const state: LocalState = {
  cluster: "c0ffee",
  member: "a",
  runs: ["11", "22"],
  role: "primary",
  epoch: 3,
  claim: { slot: 7, chain: digest },
  bootId: "boot",
  image: {
    ...EMPTY_IMAGE,
    position: { slot: 7, chain: digest },
    epoch: 3,
    claims: [0, 3, 7],
    files: new Map([
      ["db/000004.log", { kind: "append", size: 10, firstSlot: 2 }],
      ["db/000005.sst", { kind: "table", size: 9, sha256: digest, key: "tables/1/x", permissions: 0o644 }],
      ["db/CURRENT", { kind: "small", permissions: 0o644, bytes: Buffer.from("MANIFEST-000003\n") }],
      ["@companions/empty", { kind: "directory", permissions: 0o755 }],
    ]),
  },
  identities: new Map([["db/000005.sst", { inode: 2n ** 63n, size: 9, modifiedNs: 1_800_000_000_123_456_789n }]]),
};

const codeOf = (bytes: Uint8Array): string => {
  try {
    decodeState(bytes, "state.json");
    return "none";
  } catch (error) {
    return ["StateUnreadable", "StateTooNew"].find((code) => hasCode(error, code)) ?? String(error);
  }
};

function changed(change: Record<string, unknown>): Uint8Array {
  const raw = JSON.parse(Buffer.from(encodeState(state)).toString()) as object;
  return Buffer.from(JSON.stringify({ ...raw, ...change }));
}

describe("the local state", () => {
  test("comes back as it was", () => {
    const again = decodeState(encodeState(state), "state.json");
    expect(again).toEqual(state);
    const follower = { ...state, role: "follower" as const, claim: undefined };
    expect(decodeState(encodeState(follower), "state.json")).toEqual(follower);
  });

  test("is unreadable, never half believed, wherever it is cut", () => {
    const bytes = encodeState(state);
    for (let size = 0; size < bytes.length - 1; size += 7)
      expect(codeOf(bytes.subarray(0, size))).toBe("StateUnreadable");
  });

  test.each([
    ["no format", { format: undefined }],
    ["a text for a format", { format: "1" }],
    ["an unknown role", { role: "king" }],
    ["a primary without a claim", { claim: undefined }],
    ["a claim without a chain", { claim: { slot: 1, chain: "" } }],
    ["a negative epoch", { epoch: -1 }],
    ["no cluster", { cluster: "" }],
    ["no runs", { runs: [] }],
    ["runs that are none", { runs: [1] }],
    ["no image", { image: undefined }],
    ["identities that are none", { identities: { "db/1.sst": ["x", 1, "2"] } }],
    [
      "an image that leads out",
      { image: { ...EMPTY_IMAGE, files: [{ path: "db/../x", kind: "directory", permissions: 1 }] } },
    ],
  ])("is unreadable with %s", (_what, change) => expect(codeOf(changed(change))).toBe("StateUnreadable"));

  test("of a later format is refused", () => expect(codeOf(changed({ format: 2 }))).toBe("StateTooNew"));

  test("is unreadable if it is binary", () => expect(codeOf(Buffer.from([0xff, 0xfe, 0, 1]))).toBe("StateUnreadable"));
});
