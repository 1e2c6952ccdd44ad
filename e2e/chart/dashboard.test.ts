import { expect, test } from "@jest/globals";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { stringify } from "yaml";
import { textOf } from "../docs/documents.js";
import { requirePromtool } from "../tools/promtool.js";

const run = promisify(execFile);
const MS_MAX = 300_000;
const COLUMNS = 24;
const promtool = await requirePromtool("the chart's dashboard");
const onlyWithIt = promtool === undefined ? test.skip : test;

interface Place {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: Place;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

const dashboard = JSON.parse(textOf("charts/metamaster/files/dashboard.json")) as {
  readonly title: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
};
const panels = dashboard.panels.filter(({ type }) => type !== "row");

const overlap = (a: Place, b: Place): boolean =>
  a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

test("its panels have ids and places of their own, and ask something", () => {
  expect(panels.length).toBeGreaterThan(20);
  expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  for (const [at, panel] of dashboard.panels.entries()) {
    expect(panel.gridPos.x + panel.gridPos.w).toBeLessThanOrEqual(COLUMNS);
    const over = dashboard.panels.slice(at + 1).filter(({ gridPos }) => overlap(panel.gridPos, gridPos));
    expect([panel.title, over.map(({ title }) => title)]).toEqual([panel.title, []]);
  }
  expect(panels.filter(({ targets }) => targets === undefined || targets.length === 0)).toEqual([]);
});

test("it names no variable that it doesn't have", () => {
  const known = new Set([...dashboard.templating.list.map(({ name }) => name), "__rate_interval"]);
  const used = [...JSON.stringify(dashboard).matchAll(/\$\{?(\w+)/g)].map(([, name = ""]) => name);
  expect(used.filter((name) => !known.has(name))).toEqual([]);
});

onlyWithIt(
  "Prometheus understands each question",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "metamaster-dashboard-"));
    try {
      const asked = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
      const rules = asked.map((expr, at) => ({ record: `q:${at}`, expr: expr.replaceAll("$__rate_interval", "5m") }));
      const file = join(folder, "rules.yaml");
      await writeFile(file, stringify({ groups: [{ name: "dashboard", rules }] }));
      const { stdout } = await run(promtool ?? "", ["check", "rules", file]);
      expect(stdout).toContain(`SUCCESS: ${asked.length} rules found`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  MS_MAX,
);
