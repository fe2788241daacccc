import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

/** The same in TypeScript: four rounds of a Feistel network over (0, key of the person). */
function pseudonymOf(person: bigint, key: Buffer): string {
  const bytes = (value: bigint): Buffer => {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64BE(BigInt.asUintN(64, value));
    return buffer;
  };
  let [left, right] = [0n, person];
  for (const round of [1, 2, 3, 4]) {
    const hash = createHash("sha256")
      .update(key)
      .update(Buffer.from([round]))
      .update(bytes(right))
      .digest();
    [left, right] = [right, BigInt.asUintN(64, left ^ hash.readBigUInt64BE(0))];
  }
  return Buffer.concat([bytes(right), bytes(left)]).toString("hex");
}

test("is the key of the person, encrypted under the key of the project: every person has another", async () => {
  await inside(async (db) => {
    const key = await db.value<Buffer>("select secret from privacy.secret where purpose = 'pseudonym_analysts'");
    await fc.assert(
      fc.asyncProperty(fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }), async (person) => {
        expect(await db.value("select privacy.pseudonym($1)", [person.toString()])).toBe(pseudonymOf(person, key));
      }),
      { numRuns: 50 },
    );
    expect(
      await db.value("select count(distinct privacy.pseudonym(person)) from generate_series(1, 3000) as person"),
    ).toBe("3000");
    // Of neighbours, half of the 128 bits differ, within six standard deviations of the mean.
    const distance = await db.value<number>(`
      select avg(bit_count(('x' || privacy.pseudonym(person))::bit(128) # ('x' || privacy.pseudonym(person + 1))::bit(128)))::float8
      from generate_series(1, 2000) as person`);
    expect(Math.abs(distance - 64)).toBeLessThan((6 * Math.sqrt(32)) / Math.sqrt(2000));
  });
});

test("anonymised events and nobody have none; another project gives others, an unknown one is CF002", async () => {
  await inside(async (db) => {
    expect(await db.value("select privacy.pseudonym(0)")).toBeNull();
    expect(await db.value("select privacy.pseudonym(null)")).toBeNull();
    await db.query("select privacy.rotate_pseudonyms('study')");
    expect(await db.value("select privacy.pseudonym(7) = privacy.pseudonym(7, 'study')")).toBe(false);
    expect(await db.rejects("select privacy.pseudonym(7, 'studi')")).toMatchObject({
      code: "CF002",
      hint: 'The nearest name is "study".',
    });
    expect(await db.rejects("select privacy.pseudonym(7, null)")).toMatchObject({ code: "CF002" });
    expect(await db.rejects("select privacy.pseudonym(7, $1)", ["%"])).toMatchObject({ code: "CF002" });
  });
});

test("two people who are merged have one, and are found by each; after a split each has her own again", async () => {
  await inside(async (db) => {
    await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
    const of = (name: string) => db.value<string>("select privacy.pseudonym(track.find_person($1))", [name]);
    const named = (pseudonym: string) => db.value("select privacy.reidentify($1)", [pseudonym]);
    const [ada, ben] = [await of("ada"), await of("ben")];
    await db.query("select track.merge_persons('ada', 'ben')");
    expect(await of("ada")).toBe(await of("ben"));
    expect([await named(ada), await named(ben)]).toEqual(["ada", "ben"]);
    await db.query("select track.split_person('ada', '{ben}')");
    expect([await of("ada"), await of("ben")]).toEqual([ada, ben]);
  });
});

test("is for admins and workers: analysts could enumerate the keys of people", async () => {
  expect(await rolesThatMay(database, "select privacy.pseudonym(7)")).toEqual(["admin", "worker"]);
  for (const sql of ["select * from privacy.secret", "select privacy._pseudonym_key('analysts')"])
    expect(await rolesThatMay(database, sql), sql).toEqual([]);
});
