import { HttpMethod, KubernetesObjectApi, PatchStrategy } from "@kubernetes/client-node";
import type { KubeManifest } from "../objects/names.js";

/** The library's `patch` sends only the fields that it knows: a misspelt one of a pod's template, or one younger than the library, would be lost without a word. The API server says what it doesn't know. */
export class RawApi extends KubernetesObjectApi {
  /** Server-side apply, by force. `dryRun`: all is checked, and nothing kept. */
  async apply(manifest: KubeManifest, fieldManager: string, dryRun = false): Promise<unknown> {
    // It fills in what it misses.
    const { apiVersion, kind, metadata } = manifest;
    const path = await this.specUriPath({ apiVersion, kind, metadata: { ...metadata } as object }, "patch");
    const context = this.configuration.baseServer.makeRequestContext(path, HttpMethod.PATCH);
    context.setHeaderParam("Accept", "application/json");
    context.setHeaderParam("Content-Type", PatchStrategy.ServerSideApply);
    context.setQueryParam("fieldManager", fieldManager);
    context.setQueryParam("force", "true");
    if (dryRun) context.setQueryParam("dryRun", "All");
    context.setBody(JSON.stringify(manifest));
    return await this.requestPromise(context);
  }
}
