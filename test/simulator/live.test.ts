import { expect, test } from "vitest";
import { sendLive, startLive } from "../../src/simulator/live.ts";
import { midnight } from "../../src/simulator/options.ts";
import { testDatabase } from "../support/database.ts";
import { makePopulation } from "../support/population.ts";
import { refresh } from "../support/world.ts";

const DAY = 86_400_000;
const database = await testDatabase();
// Ten days ago: the events of now are those of two weeks before.
const until = new Date(new Date(Date.now() - 10 * DAY).setUTCHours(0, 0, 0, 0));
await makePopulation(database, { learners: 60, courses: 6, weeks: 5, until, seed: 1 });
await refresh(database);

const events = (condition: string) =>
  database.rows<{ count: number; people: number; first: Date | null }>(
    `select count(*)::int as count, count(distinct person_id)::int as people, min(occurred_at) as first
     from track.event where ${condition}`,
  );
const after = `occurred_at >= '${until.toISOString()}'`;

test("people do again what they did at the same time of the week, once", async () => {
  expect(await events(after)).toEqual([{ count: 0, people: 0, first: null }]);
  const since = new Date(Date.now() - 2 * DAY);
  const sent = await sendLive(database, since);
  expect(sent).toBeGreaterThan(50);
  expect((await events(after))[0]?.count).toBe(sent);
  // Each of them has one of the simulated time, exactly two weeks before, with the same item and the same person.
  expect(
    await database.value(
      `select count(*)::int from track.event as later
       where ${after.replace("occurred_at", "later.occurred_at")}
         and not exists (
           select from track.event as earlier
           where earlier.occurred_at = later.occurred_at - interval '14 days'
             and earlier.event_type_id = later.event_type_id
             and earlier.item_id is not distinct from later.item_id
             and earlier.identity_id = later.identity_id
             and earlier.properties = later.properties
         )`,
    ),
  ).toBe(0);
  // A process that starts again sends the day again.
  expect(await sendLive(database, since)).toBeGreaterThanOrEqual(sent);
  const [stored] = await events(`${after} and occurred_at < now() - interval '1 minute'`);
  expect(stored?.count).toBeLessThanOrEqual(sent);
  expect(stored?.first?.getTime()).toBeGreaterThanOrEqual(since.getTime());

  await refresh(database);
  expect(
    await database.value("select count(*)::int from track.session where started_at >= $1", [since.toISOString()]),
  ).toBeGreaterThan(5);
  // No enrolment, and nothing else that happens once.
  expect(await database.value("select count(*)::int from track.enrolment where enrolled_at >= $1", [until])).toBe(0);
});

test("it runs until it is closed, and an error is reported and does not end it", async () => {
  const errors: unknown[] = [];
  const live = startLive(database.pool, midnight(new Date()), (error) => errors.push(error));
  await live.close();
  expect(errors).toEqual([]);
  await database.query("alter table canvas_flow_truth.population rename to population_away");
  const failing = startLive(database.pool, midnight(new Date()), (error) => errors.push(error));
  await expect.poll(() => errors.length, { timeout: 30_000 }).toBe(1);
  await failing.close();
  await database.query("alter table canvas_flow_truth.population_away rename to population");
});
