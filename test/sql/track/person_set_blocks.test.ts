import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

const blocks = (db: Queries, name: string): Promise<string[]> =>
  db
    .rows<{ person_id: string }>(
      `select set_block.block * 4096::bigint + place as person_id
       from track.person_set_blocks($1) as set_block
       cross join generate_series(0, 4095) as place
       where get_bit(set_block.people, place) = 1
       order by 1`,
      [name],
    )
    .then((rows) => rows.map(({ person_id }) => person_id));

const named = (db: Queries, ...names: string[]): Promise<string[]> =>
  db
    .rows<{ person_id: string }>(
      "select track.find_person(name) as person_id from unnest($1::text[]) as name order by 1",
      [names],
    )
    .then((rows) => rows.map(({ person_id }) => person_id));

test("people who are queued for a refresh belong to a set or not as of now", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
    await ingest(db, [message({ userId: undefined, anonymousId: "browser" })]);
    // Before the first refresh, no set has a block.
    expect(await db.value("select count(*) from track.person_set_block")).toBe("0");
    expect(await blocks(db, "counted")).toEqual(await named(db, "ada", "ben"));
    await refresh(db);
    expect(await blocks(db, "counted")).toEqual(await named(db, "ada", "ben"));

    // In the block of the others, and in a block of its own.
    await db.query("select setval('track.identity_identity_id_seq', 10 * 4096)");
    await ingest(db, [message({ userId: "eve" })]);
    await db.query("select track.exclude_person('ben', 'test')");
    expect(await blocks(db, "counted")).toEqual(await named(db, "ada", "eve"));
    expect(await blocks(db, "signed_in")).toEqual(await named(db, "ada", "ben", "eve"));
    await refresh(db);
    expect(await blocks(db, "counted")).toEqual(await named(db, "ada", "eve"));
    await db.query("select track.include_person('ben')");
    expect(await blocks(db, "counted")).toEqual(await named(db, "ada", "ben", "eve"));
  });
});

test("an unknown set is CF002, and no client calls it", async () => {
  expect(await database.rejects("select track.person_set_blocks('count')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "counted"?',
  });
  await database.as("insights_analyst", {}, async (db) =>
    expect(await db.rejects("select track.person_set_blocks('counted')")).toMatchObject({ code: "42501" }),
  );
});
