import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { refresh } from "../../track/messages.ts";
import { type Sent, send, start, viewed } from "../experiments.ts";

const database = await testDatabase();
await send(database, [{ person: "zoe", event: "Order Completed", day: 1, properties: { value: 1 } }]);
await database.query(
  "select experiment.define_metric('revenue', 'mean', '{Order Completed}', value_property => 'value')",
);
await start(database, { key: "page", goals: ["revenue"] }, 5);

const sums = () =>
  database.rows(
    "select position, variation, exposed_on::text, people::int, sums::text[] from experiment.day_sum order by 1, 2, 3",
  );

test.skipIf(!database.native)(
  "refreshes, checks, rebuilds and messages at the same time leave the sums of a computation from scratch",
  { timeout: 120_000 },
  async () => {
    const events: Sent[] = Array.from({ length: 120 }, (_, i) => [
      viewed(`person ${i}`, "page", i % 2, 6 + (i % 4)),
      { person: `person ${i}`, event: "Order Completed", day: 7, properties: { value: i / 7 } },
      { person: `person ${i}`, event: "Order Completed", day: 11, properties: { value: i * 1.01 } },
    ]).flat();
    const sender = async (part: number): Promise<void> => {
      const mine = events.filter((_, i) => i % 3 === part);
      for (let i = 0; i < mine.length; i += 10) await send(database, mine.slice(i, i + 10));
    };
    const repeated = async (sql: string): Promise<void> => {
      for (let i = 0; i < 15; i += 1) await database.query(sql);
    };
    await Promise.all([
      sender(0),
      sender(1),
      sender(2),
      repeated("select from track.refresh(7)"),
      repeated("select from track.refresh(5)"),
      repeated("select experiment.check_exposures('page', 20)"),
      repeated("select experiment.rebuild('page')"),
    ]);
    await refresh(database);
    expect(await database.value("select (experiment.check_exposures('page')).wrong_sums")).toBe(0);
    const kept = await sums();
    expect(kept.length).toBe(8);
    await database.query("truncate experiment.exposure, experiment.day_sum, experiment.period_sum");
    await database.query("select track.rebuild('experiment.exposure')");
    await refresh(database);
    expect(await sums()).toEqual(kept);
  },
);

test.skipIf(!database.native)(
  "an event beside the end of an experiment counts exactly when it is before it",
  async () => {
    await start(database, { key: "short", goals: ["revenue"] }, 5);
    const person = (i: number): string => `beside ${i}`;
    await send(
      database,
      Array.from({ length: 20 }, (_, i) => viewed(person(i), "short", i % 2, 6)),
    );
    await refresh(database);
    const now = async (i: number): Promise<void> => {
      await database.query("select track.ingest($1)", [
        JSON.stringify([
          {
            type: "track",
            messageId: `now ${i}`,
            userId: person(i),
            event: "Order Completed",
            properties: { value: 1 },
            timestamp: new Date().toISOString(),
          },
        ]),
      ]);
      await database.query("select from track.refresh(1000)");
    };
    await Promise.all([
      ...Array.from({ length: 10 }, (_, i) => now(i)),
      database.query("select experiment.stop('short', 'The test ends it.')"),
      ...Array.from({ length: 10 }, (_, i) => now(10 + i)),
    ]);
    await refresh(database);
    const [stored] = await database.rows(`
    select
      (select sum(outcomes[1]) from experiment.exposure join experiment.experiment using (experiment_id)
        where experiment_key = 'short')::int as outcomes,
      (select count(*) from track.event join track.event_type using (event_type_id) join track.identity using (identity_id)
        where name = 'Order Completed' and external_id like 'beside %'
          and occurred_at < (select stopped_at from experiment.experiment where experiment_key = 'short'))::int as events`);
    expect(stored?.["outcomes"]).toBe(stored?.["events"]);
  },
);
