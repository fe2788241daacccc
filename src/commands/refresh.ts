import type pg from "pg";
import { step } from "../terminal.ts";
import { refreshStep, refreshSteps } from "../worker/refresh.ts";

/** Refreshes all data derived from events and decisions, with a progress bar for each step. */
export async function refresh(pool: pg.Pool, out: NodeJS.WriteStream): Promise<void> {
  const query = async <T extends object>(sql: string, values: readonly unknown[]): Promise<T[]> =>
    (await pool.query(sql, [...values])).rows;
  const [known] = await query<{ people: number }>("select count(*)::int as people from track.person", []);
  for (const name of await refreshSteps(query)) {
    await step(
      `Refreshing ${name}`,
      (bar) => refreshStep(query, name, { progress: (people) => bar.update(people, known?.people) }),
      ({ people, failed, error }) => `${people} people${failed === undefined ? "" : `, ${failed} failed: ${error}`}`,
      out,
    );
  }
}
