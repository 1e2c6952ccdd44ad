import { Gauge, type Registry } from "prom-client";
import { list, number, text, type LiveObject } from "./kube/objects.js";

/**
 * What alerts can lean on when the members themselves can't be asked: a pod that does not run exports nothing. Read from the resources as they are when somebody asks; a resource that is gone is gone here. The
 * labels are those of the members' metrics.
 */
export function registerClusterMetrics(registry: Registry, clusters: () => readonly LiveObject[]): void {
  const registers = [registry];
  const byCluster = ["namespace", "metamaster_cluster"] as const;
  const each = (set: (labels: Record<(typeof byCluster)[number], string>, cluster: LiveObject) => void): void => {
    for (const cluster of clusters()) {
      const [name = "", namespace = "default"] = ["name", "namespace"].map((part) => text(cluster, "metadata", part));
      set({ namespace, metamaster_cluster: name }, cluster);
    }
  };
  void new Gauge({
    name: "metamaster_cluster_condition",
    help: "1 while a condition of a resource is True, 0 while it is False or Unknown.",
    labelNames: [...byCluster, "condition"],
    registers,
    collect() {
      this.reset();
      each((labels, cluster) => {
        for (const condition of list(cluster, "status", "conditions")) {
          const [type = "", status] = ["type", "status"].map((part) => text(condition, part));
          this.set({ ...labels, condition: type }, status === "True" ? 1 : 0);
        }
      });
    },
  });
  void new Gauge({
    name: "metamaster_cluster_members_wanted",
    help: "Members that a resource asks for.",
    labelNames: byCluster,
    registers,
    collect() {
      this.reset();
      each((labels, cluster) => this.set(labels, number(cluster, "spec", "replicas") ?? 0));
    },
  });
  void new Gauge({
    name: "metamaster_cluster_members_ready",
    help: "Members of a resource that are primary or follow it.",
    labelNames: byCluster,
    registers,
    collect() {
      this.reset();
      each((labels, cluster) => this.set(labels, number(cluster, "status", "readyReplicas") ?? 0));
    },
  });
}
