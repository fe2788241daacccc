import type { Queries } from "../../support/database.ts";
import { ingest, type Message } from "../track/messages.ts";

export interface Step {
  rule: string;
  table_name: string;
  method: string;
  row_count: number;
  partitions: string[];
  held_count: number | null;
}

/** Events of people, by the number of days before now. */
export async function happened(db: Queries, ages: Record<string, number[]>, fields: Message = {}): Promise<void> {
  const now = (await db.value<Date>("select now() as at")).getTime();
  await ingest(
    db,
    Object.entries(ages).flatMap(([userId, days]) =>
      days.map((age) => ({
        type: "track",
        messageId: `${userId}-${age}-${JSON.stringify(fields)}`,
        userId,
        event: "Task Submitted",
        timestamp: new Date(now - age * 86_400_000).toISOString(),
        ...fields,
      })),
    ),
  );
}

const columns = "rule, table_name, method, row_count::int, partitions, held_count::int";

export const plan = (db: Queries): Promise<Step[]> => db.rows(`select ${columns} from privacy.retention_plan()`);

export const applyOnce = async (db: Queries, mostRows = 20_000): Promise<Step | undefined> =>
  (await db.rows<Step>(`select ${columns} from privacy.apply_retention($1)`, [mostRows]))[0];

/** All steps until nothing is left. */
export async function applyAll(db: Queries, mostRows = 20_000): Promise<Step[]> {
  const steps: Step[] = [];
  while (steps.length < 100) {
    const step = await applyOnce(db, mostRows);
    if (step === undefined) return steps;
    steps.push(step);
  }
  throw new Error("the steps do not end");
}

/** Days before now of the events that are stored, by person. */
export const stored = async (db: Queries): Promise<Record<string, number[]>> =>
  Object.fromEntries(
    (
      await db.rows<{ name: string; ages: number[] }>(
        `select external_id as name, array_agg(extract(day from now() - occurred_at)::int order by occurred_at desc) as ages
         from track.event join track.identity using (identity_id) group by 1 order by 1`,
      )
    ).map(({ name, ages }) => [name, ages]),
  );
