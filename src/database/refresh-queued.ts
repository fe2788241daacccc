import pg from "pg";

/*
 * A release that changes derived data queues all people for a refresh from scratch. The migration works through this
 * queue, some people at a time, each time in a transaction of its own: readers compute the data of people who are still
 * queued from their events, an interrupted run continues where it was, and workers do the same at the same time.
 */

/** People whose data of all times are queued. */
const queued = `
  select (
    select count(distinct person_id) from track.stale where since = '-infinity' and until = 'infinity'
  )::float8 as people,
  exists (select 1 from track.changed where since = '-infinity' and until = 'infinity') as consumers
`;

const peopleAtOnce = 200;
const reportEvery = 10_000;

/** Refreshes the people that a release queued; returns their number. */
export async function refreshQueued(url: string, say: (line: string) => void): Promise<number> {
  const client = new pg.Client({ connectionString: url, application_name: "canvas-flow-insights" });
  client.on("error", () => {});
  await client.connect();
  try {
    await client.query("set statement_timeout to 0");
    // Without any release there is no queue.
    const { rows: tables } = await client.query<{ exists: boolean }>(
      "select pg_catalog.to_regclass('track.changed') is not null as exists",
    );
    if (tables[0]?.exists !== true) return 0;
    const left = async (): Promise<{ people: number; consumers: boolean }> => {
      const { rows } = await client.query<{ people: number; consumers: boolean }>(queued);
      return rows[0] ?? { people: 0, consumers: false };
    };
    const { people } = await left();
    if (people === 0) return 0;
    let reportedAt = Date.now();
    let refreshed = true;
    for (let rest = await left(); refreshed && (rest.people > 0 || rest.consumers); rest = await left()) {
      if (Date.now() - reportedAt > reportEvery) {
        say(
          `refreshing derived data: ${rest.people} of ${people} people left; it can be interrupted, and workers do the same`,
        );
        reportedAt = Date.now();
      }
      await client.query("begin");
      await client.query("set local role insights_owner");
      const { rows } = await client.query<{ step: string; people: number; failed: number; error: string | null }>(
        "select * from track.refresh($1)",
        [peopleAtOnce],
      );
      await client.query("commit");
      refreshed = rows.some((row) => row.people > 0);
      if (refreshed) continue;
      // People whose data make a refresh fail stay queued, and the worker reports them.
      for (const { step, failed, error } of rows) say(`${step} failed for ${failed} people, such as: ${error}`);
    }
    return people;
  } finally {
    await client.end();
  }
}
