import { OperatorMetrics } from "./metrics.js";

/** docs/reference/operator-metrics.md */
export async function operatorMetricsPage(): Promise<string> {
  const { registry } = new OperatorMetrics({ depth: () => 0, writes: () => 0, clusters: () => [] });
  const all = await registry.getMetricsAsJSON();
  const rows = all
    .filter(({ name }) => name.startsWith("metamaster_"))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help }) => `| \`${name}\` | ${type.toString()} | ${help} |`);
  return [
    "# Metrics of the operator",
    "",
    "<!-- Made by `make docs`; edit the sources instead. -->",
    "",
    "`GET /metrics` on port 8080 of each operator's pod, in Prometheus' text format; those of the one that leads count (`metamaster_operator_leader`). Besides these, the process's own (`process_*`, `nodejs_*`). Those of the members: [metrics.md](metrics.md).",
    "",
    "| metric | type | meaning |",
    "| --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
}
