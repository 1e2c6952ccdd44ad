import { execFileSync } from "node:child_process";
import { mkdtempSync, mkdirSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { gcsCredentialsOf, s3CredentialsOf, S3_CREDENTIAL_FILES } from "./credential-files.js";
import { CredentialsDirectory } from "./credentials-directory.js";
import { ManualClock } from "./testing/test-clock.js";

let root: string;
let clock: ManualClock;
let versions = 0;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "mm-credentials-"));
  clock = new ManualClock();
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

/** As a kubelet does it: a new folder of files, then the link to it replaced. */
function mountSecret(files: Readonly<Record<string, string>>): void {
  const version = `..version-${++versions}`;
  mkdirSync(join(root, version));
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(root, version, name), text);
    rmSync(join(root, name), { force: true });
    symlinkSync(`..data/${name}`, join(root, name));
  }
  symlinkSync(version, join(root, "..next"));
  renameSync(join(root, "..next"), join(root, "..data"));
}

function s3(): CredentialsDirectory {
  return new CredentialsDirectory(root, S3_CREDENTIAL_FILES, clock);
}

test("plain files and a mounted Secret's are read, without the line ends that people leave in them", async () => {
  writeFileSync(join(root, "AWS_ACCESS_KEY_ID"), "id\n");
  writeFileSync(join(root, "AWS_SECRET_ACCESS_KEY"), " secret ");
  const plain = s3();
  expect(s3CredentialsOf(plain, await plain.current())).toEqual({ accessKeyId: "id", secretAccessKey: "secret" });
  mountSecret({ AWS_ACCESS_KEY_ID: "i", AWS_SECRET_ACCESS_KEY: "s", AWS_SESSION_TOKEN: "t" });
  const mounted = s3();
  expect(s3CredentialsOf(mounted, await mounted.current())).toEqual({
    accessKeyId: "i",
    secretAccessKey: "s",
    sessionToken: "t",
  });
});

test("a change is seen after a second, or at once when somebody asks; what is the same is no change", async () => {
  mountSecret({ AWS_ACCESS_KEY_ID: "1", AWS_SECRET_ACCESS_KEY: "1" });
  const directory = s3();
  await directory.current();
  const { version } = directory;
  expect(await directory.changedSince(version)).toBe(false);
  mountSecret({ AWS_ACCESS_KEY_ID: "2", AWS_SECRET_ACCESS_KEY: "2" });
  expect((await directory.current())["AWS_ACCESS_KEY_ID"]).toBe("1");
  clock.advance(1001);
  expect((await directory.current())["AWS_ACCESS_KEY_ID"]).toBe("2");
  expect(directory.version).toBe(version + 1);
  mountSecret({ AWS_ACCESS_KEY_ID: "3", AWS_SECRET_ACCESS_KEY: "3" });
  expect(await directory.changedSince(version + 1)).toBe(true);
  expect((await directory.current())["AWS_ACCESS_KEY_ID"]).toBe("3");
});

test("what was changed while it was read is read again: never halves of two versions", async () => {
  mountSecret({ AWS_ACCESS_KEY_ID: "1", AWS_SECRET_ACCESS_KEY: "1" });
  // Holds the reader up until somebody writes to it.
  const slow = join(root, "..data", "AWS_SECRET_ACCESS_KEY");
  rmSync(slow);
  execFileSync("mkfifo", [slow]);
  const real = realpathSync(slow);
  const directory = s3();
  const reading = directory.current();
  // It has the other file, or will find that it changed.
  const writer = await open(real, "w");
  mountSecret({ AWS_ACCESS_KEY_ID: "2", AWS_SECRET_ACCESS_KEY: "2" });
  await writer.writeFile("1");
  await writer.close();
  expect(await reading).toEqual({ AWS_ACCESS_KEY_ID: "2", AWS_SECRET_ACCESS_KEY: "2" });
});

test("what is missing, empty, too large or not readable is named, nothing of it is told", async () => {
  const none = s3();
  const files = await none.current();
  expect(() => s3CredentialsOf(none, files)).toThrow(`The file AWS_ACCESS_KEY_ID in ${root} is missing`);
  mountSecret({ AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "\n" });
  const empty = s3();
  const halves = await empty.current();
  expect(() => s3CredentialsOf(empty, halves)).toThrow(`The file AWS_SECRET_ACCESS_KEY in ${root} is empty`);
  mountSecret({ AWS_ACCESS_KEY_ID: "x".repeat(65 * 1024) });
  await expect(s3().current()).rejects.toThrow("it has more than 65536 bytes");
  rmSync(join(root, "AWS_ACCESS_KEY_ID"));
  mountSecret({});
  mkdirSync(join(root, "..data", "AWS_ACCESS_KEY_ID"));
  await expect(s3().current()).rejects.toThrow(/AWS_ACCESS_KEY_ID can't be read/);
});

test.each([
  ["{ verysecret", "is no JSON"],
  ['"verysecret"', "holds no JSON object"],
  ['{ "type": "verysecret" }', "has an unknown type; there are service_account, authorized_user, external_account"],
  ['{ "type": "service_account", "private_key": "verysecret" }', "lacks client_email"],
  ['{ "type": "authorized_user", "refresh_token": "verysecret" }', "lacks client_id, client_secret"],
  [
    '{ "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "u" }',
    "lacks credential_source",
  ],
])("credentials.json %s: %s", (text, why) => {
  const directory = new CredentialsDirectory(root, ["credentials.json"], clock);
  const thrown = (): unknown => gcsCredentialsOf(directory, { "credentials.json": text });
  expect(thrown).toThrow(`${root}/credentials.json ${why}`);
  expect(thrown).not.toThrow("verysecret");
});
