import type { KubeConfig } from "@kubernetes/client-node";
import { isDeepStrictEqual } from "node:util";
import { Agent, type Dispatcher } from "undici";

/** The API server's first byte; a watch's, too. */
const HEADERS_MS_MAX = 30_000;

type Options = ReturnType<KubeConfig["createDispatcherOptions"]>;
/** The library gives what `tls.connect` takes, each only if it is set. */
type Connect = NonNullable<Agent.Options["connect"]>;
type Create = (...args: Parameters<KubeConfig["createDispatcherOptions"]>) => Dispatcher | undefined;

/** A request to the API server, in Kubernetes' words. */
export interface ApiRequest {
  /** get (lists, too), watch, post, put, patch, delete. */
  readonly verb: string;
  /** Plural, in lower case; empty: none, such as a look at the server's version. */
  readonly resource: string;
}

function telling(onRequest: (request: ApiRequest) => void): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => {
    onRequest(requestOf(options.method, options.path));
    return dispatch(options, handler);
  };
}

/** `/apis/apps/v1/namespaces/default/statefulsets/meta?watch=true` */
export function requestOf(method: string, path: string): ApiRequest {
  const { pathname, searchParams } = new URL(path, "http://api.invalid");
  const [, resource = ""] =
    /^\/(?:api\/[^/]+|apis\/[^/]+\/[^/]+)\/(?:namespaces\/[^/]+\/(?=[^/]))?([^/]+)/.exec(pathname) ?? [];
  return { verb: searchParams.get("watch") === "true" ? "watch" : method.toLowerCase(), resource };
}

/**
 * Requests made with it use each other's connections. The library (2.0.1) makes an agent for every request: a TLS handshake each, and a socket that lingers. Files with certificates are read again as it
 * always did: another one is another set of connections. HTTP/1.1, because a call given up then ends its connection with it, and the next one does not wait on a peer that is gone.
 */
export function sharingConnections(config: KubeConfig, onRequest?: (request: ApiRequest) => void): KubeConfig {
  const create = (Reflect.get(config, "createDispatcher") as Create).bind(config);
  let last: { readonly options: Options; readonly dispatcher: Dispatcher | undefined } | undefined;
  const shared: Create = (cluster, agentOptions) => {
    const options = config.createDispatcherOptions(cluster, agentOptions);
    if (last !== undefined && isDeepStrictEqual(last.options, options)) return last.dispatcher;
    // Watches may go on with the old ones for as long as they like.
    last?.dispatcher?.close(() => undefined);
    const made =
      options.type === "agent"
        ? new Agent({ allowH2: false, headersTimeout: HEADERS_MS_MAX, connect: options.connect as Connect })
        : create(cluster, agentOptions);
    const dispatcher = onRequest === undefined ? made : made?.compose(telling(onRequest));
    last = { options, dispatcher };
    return dispatcher;
  };
  // There is no setting for it.
  if (!Reflect.set(config, "createDispatcher", shared)) throw new Error("connections can't be shared");
  return config;
}
