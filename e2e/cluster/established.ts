import type { ApiServer } from "./api-server.js";
import { waitFor } from "./wait.js";

const MS_MAX = 30_000;

/** Resolves once these definitions are served; none named: all that there are. `kubectl wait` fails at once for one that has no status yet. */
export async function untilEstablished(server: Pick<ApiServer, "kubectl">, ...names: readonly string[]): Promise<void> {
  const which = names.length === 0 ? ["crd", "--all"] : names.map((name) => `crd/${name}`);
  await waitFor("the definitions are served", MS_MAX, () =>
    server.kubectl(["wait", "--for=condition=Established", ...which, "--timeout=30s"]),
  );
}
