import { hasCode } from "../../base/errors.js";
import { planCompanions } from "./companion-plan.js";
import type { Cut } from "./cut.js";
import type { ShippedDatabase } from "./database.js";
import { closePlan, emitGroup, tablesOf, type GroupMode, type GroupParts, type GroupPlan } from "./group.js";
import type { Links } from "./links.js";
import { CutMoved, planDatabase, type DatabasePlan, type PlanParts, type PlannedTable } from "./plan.js";
import { PlanLinks, type KeptLinks } from "./plan-links.js";
import type { Uploaded } from "./uploader.js";

export interface PlanRequest {
  readonly mode: GroupMode;
  readonly cut: Cut;
  readonly databases: readonly ShippedDatabase[];
  /** Whether the companions of the cut are part of the group. */
  readonly companions: boolean;
  readonly holds: number;
}

/** What plans are made from; each has its own links. */
export interface PlanSource extends Omit<PlanParts, "links"> {
  readonly links: Links;
  readonly kept: KeptLinks;
}

/** A plan under way: its tables are linked, then uploaded, then the group is emitted; or it is dropped. */
export class PlannedGroup {
  readonly plan: GroupPlan;
  readonly #links: PlanLinks;
  readonly #parts: GroupParts;
  readonly #uploaded = new Map<PlannedTable, Uploaded>();
  #closed = false;

  private constructor(plan: GroupPlan, links: PlanLinks, parts: GroupParts) {
    this.plan = plan;
    this.#links = links;
    this.#parts = parts;
  }

  /** Throws `CutMoved` if the disk moves on before every link is made; those that were made are kept for the next try. */
  static async make(request: PlanRequest, source: PlanSource, parts: GroupParts): Promise<PlannedGroup> {
    const databases: DatabasePlan[] = [];
    const { mode, cut, holds } = request;
    const { fs, listings, shipped } = source;
    const links = new PlanLinks(source.links);
    const planParts = { fs, listings, shipped, links };
    await source.kept.only(parts.all.map(({ manifest }) => manifest.generation).join());
    try {
      for (const database of request.databases) {
        const databaseCut = cut.databases[parts.all.indexOf(database)];
        const plan = databaseCut && (await planDatabase(database, databaseCut, planParts));
        if (plan !== undefined) databases.push(plan);
      }
      const companions = request.companions ? await planCompanions(cut.companions, planParts) : undefined;
      // The tables of a binding group are those of few databases; what is kept is for a checkpoint of all.
      if (mode !== "binding") await source.kept.release();
      return new PlannedGroup({ mode, cut, holds, databases, companions }, links, parts);
    } catch (error) {
      await closePlan({ mode, cut, holds, databases, companions: undefined });
      if (error instanceof CutMoved) source.kept.keep(links);
      else await links.release();
      throw error;
    }
  }

  async upload(signal: AbortSignal): Promise<void> {
    const byUpload = new Map(tablesOf(this.plan).map((table) => [table.upload, table]));
    try {
      await this.#parts.uploader.all([...byUpload.keys()], signal, (upload, uploaded) => {
        const table = byUpload.get(upload);
        if (table !== undefined) this.#uploaded.set(table, uploaded);
      });
    } catch (error) {
      throw hasCode(error, "FileChanged") || hasCode(error, "FileNotFound") ? new CutMoved(String(error)) : error;
    }
  }

  /** True if there was anything to say. */
  async emit(): Promise<boolean> {
    return await emitGroup(this.plan, this.#uploaded, this.#parts);
  }

  /** Lets go of links and handles. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await closePlan(this.plan);
    await this.#links.release();
  }
}
