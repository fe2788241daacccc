import type pg from "pg";
import type { Progress } from "../terminal.ts";

/** Refresh functions that process a limited number of people per call, so that progress can be shown. */
export const refreshes = {
  sessions: "track.refresh_sessions(50)",
  activity: "analytics.refresh_activity(50) as people",
  interactions: "recommend.refresh_interactions(50) as people",
} as const;

/** Calls one of them until no people remain; returns the number of people processed. */
export async function workOff(pool: pg.Pool, call: string, bar: Progress): Promise<number> {
  const { rows } = await pool.query<{ people: number }>("select count(*)::int as people from track.person");
  for (let done = 0; ; ) {
    const result = await pool.query<{ people: number }>(`select people::int from ${call}`);
    const people = result.rows[0]?.people ?? 0;
    if (people === 0) return done;
    done += people;
    bar.update(done, rows[0]?.people);
  }
}
