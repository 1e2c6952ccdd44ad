import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { inClusterAccess } from "./access.js";

let folder: string;
const environment = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "6443" };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "metamaster-access-"));
  for (const name of ["ca.crt", "token", "namespace"]) await writeFile(join(folder, name), `${name.slice(0, 5)}-1\n`);
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

test("as a pod is told it; the token and the CA are read again when they were replaced", async () => {
  await writeFile(join(folder, "namespace"), "db");
  const access = await inClusterAccess(environment, folder);
  expect(access).toMatchObject({ url: "https://10.0.0.1:6443", namespace: "db" });
  expect(await access.token()).toBe("token-1");
  await writeFile(join(folder, "new"), "token-22\n");
  await rename(join(folder, "new"), join(folder, "token"));
  expect(await access.token()).toBe("token-22");
});

test("an address of IPv6", async () => {
  await writeFile(join(folder, "namespace"), "db");
  const access = await inClusterAccess({ KUBERNETES_SERVICE_HOST: "fd00::1" }, folder);
  expect(access.url).toBe("https://[fd00::1]:443");
});

test.each([
  ["no variable", {}, "token", /KUBERNETES_SERVICE_HOST/],
  ["no token", environment, "token", /token can't be read/],
  ["no CA", environment, "ca.crt", /ca.crt can't be read/],
  ["no namespace", environment, "namespace", /namespace can't be read/],
])("outside a pod: %s", async (_name, variables, missing, message) => {
  await writeFile(join(folder, "namespace"), "db");
  await rm(join(folder, missing));
  await expect(inClusterAccess(variables, folder)).rejects.toMatchObject({
    code: "KubeNotInCluster",
    message: expect.stringMatching(message),
    hint: expect.stringContaining("election.type: Log"),
  });
});

test("a namespace that can't be one", async () => {
  await writeFile(join(folder, "namespace"), "../../x");
  await expect(inClusterAccess(environment, folder)).rejects.toMatchObject({ code: "KubeNotInCluster" });
});
