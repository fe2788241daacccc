import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";

const database = await testDatabase();
await makeExperiments(database);

const value = {
  placement: "place.list",
  feature: undefined,
  variations: [
    { key: "control", value: { model: "a" } },
    { key: "new", value: { model: null } },
  ],
};
await database.query("insert into experiment.handler (room, description) values ('place', 'A test.')");
const of = `select (assigned).* from (
    select experiment.assigned('place.list', track.find_person($1), null) as assigned
  ) as one`;

test("is null while no experiment runs on the placement", async () => {
  await database.as("insights_reader", {}, async (db) => {
    await db.query("reset role");
    await define(db, value);
    expect(await db.value("select experiment.assigned('place.list', 1, null) is null")).toBe(true);
    await db.query("select experiment.start('new-player')");
    await db.query("set local role insights_reader");
    expect(await db.value("select experiment.assigned('place.list', track.find_person('ada'), null) is null")).toBe(
      false,
    );
    expect(await db.value("select experiment.assigned('place.other', track.find_person('ada'), null) is null")).toBe(
      true,
    );
    expect(await db.value("select experiment.assigned(null, track.find_person('ada'), null) is null")).toBe(true);
    await db.query("reset role");
    await db.query("select experiment.stop('new-player', 'Enough.')");
    expect(await db.value("select experiment.assigned('place.list', track.find_person('ada'), null) is null")).toBe(
      true,
    );
  });
});

test("returns what experiment.assign returns, with the present weight", async () => {
  await database.as("insights_reader", {}, async (db) => {
    await db.query("reset role");
    await define(db, { ...value, weights: [0.3, 0.7] });
    await db.query("select experiment.start('new-player')");
    await db.query("set local role insights_reader");
    for (const person of ["ada", "bob"]) {
      const [assigned] = await db.rows<Record<string, unknown>>(of, [person]);
      const result = await db.value<{ variationId: number; value: unknown }>(
        "select experiment._assign(known, null, jsonb_build_object('id', $1::text)) from experiment.experiment as known",
        [person],
      );
      expect(assigned).toEqual({
        experiment_id: expect.any(Number),
        experiment_key: "new-player",
        variation: result.variationId,
        value: result.value,
        probability: [0.3, 0.7][result.variationId],
      });
    }
  });
});

test("who does not take part has the value of the control, and no variation", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { ...value, condition: { plan: "pro" } });
    await db.query("select experiment.start('new-player')");
    await db.query("set local role insights_reader");
    const outside = {
      experiment_id: expect.any(Number),
      experiment_key: "new-player",
      variation: null,
      value: { model: "a" },
      probability: null,
    };
    expect(await db.rows(of, ["bob"])).toEqual([outside]);
    expect(await db.rows(of, ["nobody-known"])).toEqual([outside]);
    expect(await db.rows(of, ["browser-1"])).toEqual([outside]);
    expect(await db.rows(of, ["ada"])).toEqual([expect.objectContaining({ probability: 0.5 })]);
  });
});

test("a browser is assigned by its own identity, and a person of several names by the first, unless one is given", async () => {
  await database.query("select track.ingest($1::jsonb)", [
    JSON.stringify([
      { type: "track", messageId: "s1", userId: "sam-1", event: "Task Submitted" },
      { type: "track", messageId: "s2", userId: "sam-2", event: "Task Submitted" },
    ]),
  ]);
  await database.query("select track.link_identities('sam-1', 'sam-2')");
  await database.as("insights_reader", {}, async (db) => {
    const by = (person: string, name: string | null) =>
      db.value(
        `select experiment._attributes(track.find_person($1), (select identity_id from track.identity where external_id = $2)) ->> 'id'`,
        [person, name],
      );
    expect(await by("sam-2", null)).toBe("sam-1");
    expect(await by("sam-2", "sam-2")).toBe("sam-2");
    expect(await by("browser-1", "browser-1")).toBe(null);
  });
});

test("no application calls it", async () => {
  for (const role of ["visitor", "learner", "instructor", "analyst"]) {
    await database.as(`insights_${role}`, {}, async (db) => {
      expect((await db.rejects("select experiment.assigned('place.list', 1, null)")).code).toBe("42501");
    });
  }
});
