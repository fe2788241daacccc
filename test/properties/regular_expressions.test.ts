import vm from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { inOrder } from "../support/growthbook.ts";
import { runs } from "../support/runs.ts";

/*
 * A regular expression of a condition matches as in Node, or is refused with a code of the class CF: it never raises an
 * error of PostgreSQL's own, and never takes long. The expressions are made of what is expensive for one of the two.
 */
const database = await testDatabase();

const atom = fc.constantFrom(
  ..."xaAbÄ1 -",
  "😀",
  ".",
  "[a-c]",
  "[^a]",
  "\\w",
  "\\W",
  "\\d",
  "\\s",
  "\\n",
  "\\x41",
  "\\u0061",
  "[^]",
  "[]",
  "[\\s\\S]",
);
const boundary = fc.constantFrom("\\b", "\\B", "^", "$");
const quantifier = fc.constantFrom("", "", "?", "*", "+", "{2}", "{0,3}", "{3,}", "{0,40}", "*?", "{0}", "{", "**");

const { expression } = fc.letrec<{ expression: string }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 5 },
    fc.tuple(atom, quantifier).map((parts) => parts.join("")),
    boundary,
    fc
      .tuple(fc.array(tie("expression"), { minLength: 1, maxLength: 3 }), quantifier)
      .map(([parts, repeated]) => `(?:${parts.join("|")})${repeated}`),
    fc.tuple(fc.constantFrom("=", "!", "<=", "<!"), tie("expression")).map(([kind, part]) => `(?${kind}${part})`),
    fc.tuple(tie("expression"), quantifier).map(([part, repeated]) => `(${part})${repeated}`),
    fc.array(tie("expression"), { minLength: 2, maxLength: 4 }).map((parts) => parts.join("")),
  ),
}));

const pattern = fc
  .tuple(fc.constantFrom("", "", "^", "abcdefghijklmnopqrstuvwxyz?"), expression, fc.integer({ min: 1, max: 30 }))
  .map(([start, part, times]) => start + (times > 20 ? part.repeat(times) : part))
  .filter((text) => text.length <= 1000);
const subject = fc.array(fc.constantFrom(..."xaAbÄ1 -\n", "😀"), { maxLength: 8 }).map((letters) => letters.join(""));

/** One for all cases: a context takes a megabyte. */
const context = vm.createContext({});
const script = new vm.Script("regex.test(value)");

/**
 * Whether JavaScript's expression matches; undefined if it backtracks for too long. V8 copies what is repeated, so that
 * long expressions with repetitions in each other would end the process: of those, only the database is tried.
 */
function expected(value: string, text: string, flags: string): boolean | undefined {
  if (text.length > 60) return undefined;
  let regex: RegExp;
  try {
    regex = new RegExp(text, flags);
  } catch {
    return false;
  }
  try {
    Object.assign(context, { regex, value });
    return script.runInContext(context, { timeout: 50 }) as boolean;
  } catch {
    return undefined;
  }
}

test("a regular expression matches as in JavaScript, or is refused", { timeout: 600_000 }, async () => {
  const cases = inOrder(fc.sample(fc.tuple(subject, pattern, fc.boolean()), runs(2000, 300, database.native)));
  await database.query(`
    create function public.match(value text, pattern text, insensitive boolean) returns text language plpgsql as $$
    begin
      return experiment._matches(match.value, match.pattern, match.insensitive);
    exception when others then
      return sqlstate;
    end
    $$`);
  // An automaton that explodes needs minutes, and is stopped on a server.
  await database.query("set statement_timeout = '60s'");
  const rows = await database.rows<{ answer: string }>(
    `select public.match(value, pattern, insensitive) as answer
     from unnest($1::text[], $2::text[], $3::boolean[]) with ordinality as test (value, pattern, insensitive, number)
     order by number`,
    [0, 1, 2].map((column) => cases.map((row) => row[column])),
  );
  const found = new Map<string, number>();
  let compared = 0;
  cases.forEach(([value, text, insensitive], number) => {
    const answer = rows[number]?.answer as string;
    found.set(answer, (found.get(answer) ?? 0) + 1);
    if (answer === "CF008" || answer === "CF009") return;
    const wanted = expected(value, text, insensitive ? "i" : "");
    if (wanted === undefined) {
      expect(["true", "false"], JSON.stringify([value, text, insensitive])).toContain(answer);
    } else {
      expect(answer, JSON.stringify([value, text, insensitive])).toBe(String(wanted));
      compared++;
    }
  });
  expect(compared / cases.length).toBeGreaterThan(0.4);
  const share = (answer: string): number => (found.get(answer) ?? 0) / cases.length;
  expect(share("true")).toBeGreaterThan(0.2);
  expect(share("false")).toBeGreaterThan(0.1);
  expect(share("CF008")).toBeLessThan(0.3);
});
