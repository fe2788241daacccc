import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import {
  agentOf,
  type Fields,
  statementId,
  statementOf,
  storeStatements,
  verbs,
  voidingOf,
} from "../../support/statements.ts";

/*
 * Short pages over many statements. A page is read from the latest statements if these fill it, and also from the
 * others if not: both ways, and their border, must give what a plain search of a list gives.
 */

const database = await testDatabase();
const count = 260;

/** Numbers from 0 to `below`, the same in each run. */
function createRandom(): (below: number) => number {
  let state = 7;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

const random = createRandom();
const statements: { number: number; fields: Fields; verb: string; actor: string; target?: number; voids?: number }[] =
  [];
for (let number = 1; number <= count; number += 1) {
  const actor = `person ${random(3)}`;
  // "early" is the verb of the first statements alone, "seldom" of few.
  const verb = `${verbs}${number < 30 ? "early" : random(40) === 0 ? "seldom" : random(2) === 0 ? "often" : "usual"}`;
  // A reference may also be to a later statement, and to one that does not exist.
  const target = number % 4 === 0 ? 1 + random(count + 5) : undefined;
  if (number % 31 === 0) {
    const voids = number - 3;
    statements.push({
      number,
      verb: `${verbs}voided`,
      actor,
      target: voids,
      voids,
      fields: voidingOf(number, voids, { actor: agentOf(actor) }),
    });
  } else {
    const object = target === undefined ? {} : { object: { objectType: "StatementRef", id: statementId(target) } };
    statements.push({
      number,
      verb,
      actor,
      ...(target === undefined ? {} : { target }),
      fields: statementOf(number, { actor: agentOf(actor), verb: { id: verb }, ...object }),
    });
  }
}
await storeStatements(
  database,
  statements.map(({ fields }) => fields),
);

const byNumber = new Map(statements.map((one) => [one.number, one]));
// A statement that voids another one is not voided itself.
const voided = new Set(statements.flatMap(({ voids }) => (voids === undefined ? [] : [voids])));

function expected(query: { verb?: string; actor?: string; ascending?: boolean }): number[] {
  const matches = (number: number): boolean => {
    const one = byNumber.get(number);
    return (
      one !== undefined &&
      (query.verb === undefined || one.verb === query.verb) &&
      (query.actor === undefined || one.actor === query.actor)
    );
  };
  const found = statements.filter(({ number }) => {
    const seen = new Set<number>();
    for (let at: number | undefined = number; at !== undefined && !seen.has(at); at = byNumber.get(at)?.target) {
      if (matches(at)) return !voided.has(number);
      seen.add(at);
    }
    return false;
  });
  const numbers = found.map(({ number }) => number);
  return query.ascending ? numbers : numbers.toReversed();
}

const queries = [
  { verb: "often" },
  { verb: "early" },
  { verb: "seldom" },
  { verb: "voided" },
  { verb: "none" },
  { actor: "person 1" },
  { verb: "early", actor: "person 2" },
  { verb: "seldom", actor: "person 0" },
].flatMap((query) => [query, { ...query, ascending: true }]);

test.each(queries)("the pages of %j are the list of all that it finds", async (query) => {
  const { verb, actor, ascending } = query as { verb?: string; actor?: string; ascending?: boolean };
  const sought = {
    ...(verb === undefined ? {} : { verb: `${verbs}${verb}` }),
    ...(actor === undefined ? {} : { agent: agentOf(actor) }),
    ...(ascending ? { ascending } : {}),
  };
  const all = expected({
    ...(verb === undefined ? {} : { verb: `${verbs}${verb}` }),
    ...(actor === undefined ? {} : { actor }),
    ...(ascending ? { ascending } : {}),
  });
  for (const limit of [1, 3, 500]) {
    const found: number[] = [];
    let start: string | null | undefined;
    do {
      const [page] = await database.rows<{ statements: { id: string }[] | null; next: string | null }>(
        "select statements, next from track.statements($1)",
        [JSON.stringify({ ...sought, limit, ...(start ? { start } : {}) })],
      );
      found.push(...(page?.statements ?? []).map(({ id }) => Number(id.slice(-12))));
      expect(page?.statements?.length ?? 0).toBeLessThanOrEqual(limit);
      start = page?.next;
    } while (start !== null && start !== undefined);
    expect(found).toEqual(all);
  }
});

test("the list is neither empty nor whole for the queries that it should tell apart", () => {
  expect(expected({ verb: `${verbs}early` }).length).toBeGreaterThan(20);
  expect(expected({ verb: `${verbs}often` }).length).toBeGreaterThan(60);
  expect(expected({ verb: `${verbs}seldom` }).length).toBeGreaterThan(1);
});
