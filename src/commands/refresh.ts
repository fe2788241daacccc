import type pg from "pg";
import type { Progress } from "../terminal.ts";

/** Functions that work off what has changed, some people at a call, so that a bar can move. */
export const refreshes = {
  sessions: "track.refresh_sessions(50)",
  activity: "analytics.refresh_activity(50) as people",
  interactions: "recommend.refresh_interactions(50) as people",
} as const;

/** Calls one of them until nobody is left; answers how many people it was about. */
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
