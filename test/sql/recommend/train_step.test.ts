import pg from "pg";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { ingest, refresh } from "../../support/recommend.ts";
import { chains } from "./evaluations.ts";

const database = await testDatabase();

test("does one step after the other, each committed, until the version is stored", async () => {
  await ingest(database, chains(60, algebra.generator(12)));
  await refresh(database);
  const states: string[] = [];
  let version: number | null = null;
  while (version === null) {
    expect(states.length).toBeLessThan(200);
    const [step] = await database.rows<{ version: number | null; kind: string }>(
      "select version, kind from recommend.train_step()",
    );
    version = step?.version ?? null;
    expect(step?.kind).toBe("course");
    states.push(
      await database.value<string>(
        "select coalesce(string_agg(purpose || ' ' || state, ', ' order by evaluation_id), '') from recommend.evaluation",
      ),
    );
  }
  expect(new Set(states)).toEqual(
    new Set([
      "selection running",
      "selection finished",
      "selection finished, deployment running",
      "selection finished, deployment finished",
    ]),
  );
  expect(await database.value("select count(*)::int from ml.model")).toBe(1);
  // The next call begins the next training.
  expect(await database.value("select version from recommend.train_step()")).toBeNull();
  expect(await database.value("select count(*)::int from recommend.evaluation where state = 'running'")).toBe(1);
});

test.skipIf(!database.native)(
  "a step whose evaluation an erasure deletes can be repeated (needs parallel sessions)",
  async () => {
    const [trains, erases] = [0, 1].map(() => new pg.Client({ connectionString: database.url() }));
    if (trains === undefined || erases === undefined) throw new Error("no sessions");
    await trains.connect();
    await erases.connect();
    await database.query("select recommend.train_step('course', 7)");
    const person = await database.value<string>(
      "select external_id from recommend.evaluation_person join track.identity using (person_id) where kind = 'user' and evaluation_id = (select max(evaluation_id) from recommend.evaluation) limit 1",
    );
    await erases.query("begin");
    await erases.query("select privacy.erase_person($1)", [person]);
    const step = trains.query("select recommend.train_step('course', 7)").catch((error: pg.DatabaseError) => error);
    await expect
      .poll(
        () =>
          database.value(
            "select count(*)::int from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
          ),
        {
          timeout: 20_000,
        },
      )
      .toBe(1);
    await erases.query("commit");
    expect(await step).toMatchObject({ code: "40001", message: expect.stringContaining("erasure") });
    // The next one begins without her.
    await trains.query("select recommend.train_step('course', 7)");
    expect(
      await database.value(
        "select count(*)::int from recommend.evaluation_person where not exists (select from track.identity where identity.person_id = evaluation_person.person_id)",
      ),
    ).toBe(0);
    await trains.end();
    await erases.end();
  },
);

test("refuses a kind that no item has", async () => {
  expect((await database.rejects("select recommend.train_step('curse')")).code).toBe("CF002");
});
