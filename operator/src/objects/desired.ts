import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { clusterRoleBinding, role, roleBinding, serviceAccount } from "./access.js";
import { CONFIG_KEY, configMap, sidecarConfig } from "./config.js";
import { digestOf } from "./digest.js";
import type { KubeManifest } from "./names.js";
import { disruptionBudget, headlessService, roleService } from "./network.js";
import { inputsOf, renderedAnnotation, restartedAt, type Rendering } from "./rendering.js";
import { podTemplate, statefulSet } from "./stateful-set.js";

export interface DesiredSettings {
  readonly image: string;
  readonly replicas: number;
  readonly volumeClaimTemplates?: readonly unknown[] | undefined;
  /** What the pods were made from, if it is still right; undefined: it is made anew. */
  readonly kept?: Rendering | undefined;
  /** The chart gave the operator the right to bind MEMBER_CLUSTER_ROLE. */
  readonly clusterRoleBindings: boolean;
}

/** Every object of a cluster, in the order in which they are applied: the pods come last. */
export function desiredObjects(cluster: MetaMasterCluster, settings: DesiredSettings): readonly KubeManifest[] {
  const rendering = settings.kept ?? render(cluster, settings.image);
  return [
    serviceAccount(cluster),
    role(cluster),
    roleBinding(cluster),
    ...(settings.clusterRoleBindings ? [clusterRoleBinding(cluster)] : []),
    headlessService(cluster),
    roleService(cluster, "primary"),
    roleService(cluster, "standby"),
    disruptionBudget(cluster),
    configMap(cluster, rendering.config),
    statefulSet(cluster, { ...settings, template: rendering.template, annotations: renderedAnnotation(rendering) }),
  ];
}

/** What this operator makes of the spec now. */
function render(cluster: MetaMasterCluster, image: string): Rendering {
  const config = sidecarConfig(cluster);
  const template = podTemplate(cluster, {
    image,
    configDigest: digestOf({ [CONFIG_KEY]: config }),
    restartedAt: restartedAt(cluster.metadata),
  });
  return { inputs: inputsOf(cluster), config, template };
}
