import { expect, test } from "@jest/globals";
import { requestOf } from "./connections.js";

test.each([
  ["GET", "/api/v1/nodes?limit=500", "get", "nodes"],
  ["GET", "/api/v1/namespaces/default/pods?watch=true&resourceVersion=7", "watch", "pods"],
  ["GET", "/apis/apps/v1/statefulsets?watch=true", "watch", "statefulsets"],
  ["PATCH", "/apis/apps/v1/namespaces/default/statefulsets/meta?fieldManager=x&force=true", "patch", "statefulsets"],
  ["PUT", "/apis/metamaster.io/v1alpha1/namespaces/a/metamasterclusters/b/status", "put", "metamasterclusters"],
  ["PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/operator", "put", "leases"],
  ["GET", "/api/v1/namespaces/default", "get", "namespaces"],
  ["GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "get", "clusterrolebindings"],
  ["GET", "/version", "get", ""],
])("%s %s is %s of %s", (method, path, verb, resource) => {
  expect(requestOf(method, path)).toEqual({ verb, resource });
});
