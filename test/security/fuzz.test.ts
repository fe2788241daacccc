import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildSchema } from "postgraphile/graphql";
import { describe, expect, test, vi } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { Random } from "../../src/simulator/random.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { foreign, fuzzDocuments, fuzzFunctions, fuzzMessages, names } from "../support/fuzz.ts";
import { runs } from "../support/runs.ts";
import { makeWorld } from "../support/world.ts";

/*
 * A short run of bench/fuzz.ts, with other values each time; a failure names its seed.
 */

const database = await testDatabase();
await makeWorld(database);
await database.query(`
  create schema lab;
  create table lab.houses as select n as id, n * 1.5 as price, n * 3 as area from generate_series(1, 50) as n;
  grant usage on schema lab to public;
  grant select on lab.houses to public;
  select recommend.train()`);
const { post, token } = await testApi(database, { INSIGHTS_ADDRESS_RATE: "1000000", INSIGHTS_PERSON_RATE: "1000000" });
const schema = buildSchema(await readFile(join(packageRoot, "schema.graphql"), "utf8"));
const seed = process.env["INSIGHTS_TEST_SEED"] ?? String(Date.now());
const generator = (name: string): Random => new Random(`${seed}/${name}`);

describe("functions with hostile arguments (needs statement_timeout)", () => {
  test
    .runIf(database.native)
    .for([
      { role: "visitor" },
      { role: "learner", person: "ada" },
      { role: "instructor", person: "ada" },
      { role: "analyst" },
      { role: "admin" },
      { role: "worker" },
    ] as const)("as $role", { timeout: 600_000 }, async (caller) => {
    const tally = await fuzzFunctions(database.pool, generator(caller.role), caller, {
      count: runs(300, 0, true),
      names,
      foreign: foreign(caller.role),
    });
    expect(tally.tried - tally.refused - tally.stopped).toBeGreaterThan(0);
    expect(tally.findings, `seed ${seed}`).toEqual([]);
  });
});

test("documents and messages as each role cause no internal error, and change nothing when they are refused", {
  timeout: 600_000,
}, async () => {
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  const send = { post, token, schema, names };
  for (const who of ["visitor", "learner:ada", "analyst", "admin"]) {
    const documents = await fuzzDocuments(generator(`documents ${who}`), who, send, runs(60, 30, database.native));
    expect(documents.findings, `seed ${seed}`).toEqual([]);
    const messages = await fuzzMessages(generator(`messages ${who}`), who, send, runs(20, 10, database.native));
    expect(messages.findings, `seed ${seed}`).toEqual([]);
  }
  log.mockRestore();
});
