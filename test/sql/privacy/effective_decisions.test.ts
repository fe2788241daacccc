import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { runs } from "../../support/runs.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();

const purposes = ["advertising", "analytics", "personalization"] as const;

/** Days from today. */
const day = 86_400_000;
const today = Date.now();

interface Decision {
  person: number;
  purpose: (typeof purposes)[number];
  granted: boolean;
  /** Days ago. */
  ago: number;
  /** Days after the decision until it expires. */
  expires: number | null;
  guardian: boolean;
}

interface Birth {
  person: number;
  identity: number;
  /** Days ago, in years and days. */
  years: number;
  days: number;
  verified: boolean;
}

const decision = fc.record<Decision>({
  person: fc.integer({ min: 1, max: 3 }),
  purpose: fc.constantFrom(...purposes),
  granted: fc.boolean(),
  ago: fc.integer({ min: 1, max: 1000 }),
  expires: fc.option(fc.integer({ min: 1, max: 1000 })),
  guardian: fc.boolean(),
});

const birth = fc.record<Birth>({
  person: fc.integer({ min: 1, max: 3 }),
  identity: fc.integer({ min: 1, max: 2 }),
  years: fc.integer({ min: 11, max: 19 }),
  days: fc.integer({ min: -3, max: 3 }),
  verified: fc.boolean(),
});

/** The date of a birth, as YYYY-MM-DD. */
function dateOf({ years, days }: Birth): string {
  const date = new Date(today - days * day);
  date.setUTCFullYear(date.getUTCFullYear() - years);
  return date.toISOString().slice(0, 10);
}

/** Time from which a person born on a date has an age in years everywhere: at noon UTC. */
function ofAge(date: string, years: number): number {
  const [year = 0, month = 1, days = 1] = date.split("-").map(Number);
  // 29 February becomes 1 March.
  return Date.UTC(year + years, month - 1, days, 12);
}

interface Rules {
  basis: Record<string, string>;
  minimum: Record<string, number | null>;
  age: number;
}

/** Whether a person may be processed for a purpose, decision by decision. */
function allowed(rules: Rules, decisions: Decision[], births: Birth[], person: number, purpose: string): boolean {
  const own = births.filter((one) => one.person === person);
  const verified = own.filter(({ verified: is }) => is);
  const born = (verified.length > 0 ? verified : own).map(dateOf).sort().at(-1);
  const needed = rules.minimum[purpose] ?? (rules.basis[purpose] === "consent" ? rules.age : 0);
  const from = born === undefined || needed === 0 ? Number.NEGATIVE_INFINITY : ofAge(born, needed);

  let answer: boolean | undefined;
  for (const one of decisions
    .filter((other) => other.person === person && other.purpose === purpose)
    .sort((a, b) => b.ago - a.ago)) {
    const at = today - one.ago * day;
    if (one.granted && !one.guardian && at < from) continue;
    answer = one.granted && one.expires !== null && at + one.expires * day <= today ? undefined : one.granted;
  }
  if (today < from) return answer === true;
  return answer ?? rules.basis[purpose] !== "consent";
}

const unique = <T>(list: T[], key: (one: T) => string): T[] => [
  ...new Map(list.map((one) => [key(one), one])).values(),
];

test("is what the decisions say one by one, with ages, guardians and expiry; allowed, latest_decisions and ingest agree", async () => {
  const people = ["p1", "p2", "p3"];
  await ingest(
    database,
    people.map((userId) => message({ userId })),
  );
  const keys = await database.rows<{ person_id: string }>(
    "select person_id from track.identity where external_id = any ($1) order by external_id",
    [people],
  );
  const key = (person: number): string => keys[person - 1]?.person_id ?? "0";
  await fc.assert(
    fc.asyncProperty(
      fc.array(decision, { maxLength: 12 }),
      fc.array(birth, { maxLength: 4 }),
      fc.array(fc.constantFrom("consent", "legitimate_interests"), { minLength: 3, maxLength: 3 }),
      fc.array(fc.option(fc.constantFrom(0, 13, 16, 18)), { minLength: 3, maxLength: 3 }),
      fc.constantFrom(13, 16),
      async (someDecisions, someBirths, bases, minimums, age) => {
        const decisions = unique(someDecisions, ({ person, purpose, ago }) => `${person} ${purpose} ${ago}`);
        const births = unique(someBirths, ({ person, identity }) => `${person} ${identity}`);
        const rules: Rules = {
          basis: Object.fromEntries(purposes.map((purpose, index) => [purpose, bases[index] ?? ""])),
          minimum: Object.fromEntries(purposes.map((purpose, index) => [purpose, minimums[index] ?? null])),
          age,
        };
        await database.as("postgres", {}, async (db) => {
          await db.query("update privacy.setting set age_of_consent = $1", [age]);
          for (const purpose of purposes) {
            await db.query(
              "update privacy.purpose set basis = $2, minimum_age = $3, without_basis = 'refuse' where purpose = $1",
              [purpose, rules.basis[purpose], rules.minimum[purpose]],
            );
            await db.query("insert into track.event_type (name, purpose) values ($1, $1)", [purpose]);
          }
          for (const { person, purpose, granted, ago, expires, guardian } of decisions) {
            const at = new Date(today - ago * day);
            await db.query(
              `insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, valid_until, decided_by)
               values ($1, $1, $2, $3, $4, $5, $6)`,
              [
                key(person),
                purpose,
                granted,
                at,
                expires === null ? null : new Date(at.getTime() + expires * day),
                guardian ? "guardian" : "person",
              ],
            );
          }
          for (const one of births) {
            await db.query(
              "insert into privacy.person_age (person_id, identity_id, birth_date, is_verified) values ($1, $2, $3, $4)",
              [key(one.person), one.identity, dateOf(one), one.verified],
            );
          }
          for (const purpose of purposes) {
            const expected = people.map((_, index) => allowed(rules, decisions, births, index + 1, purpose));
            expect(
              await db.rows(
                "select privacy.allowed(person, $1) as allowed from unnest($2::bigint[]) with ordinality as given (person, place) order by place",
                [purpose, people.map((_, index) => key(index + 1))],
              ),
            ).toEqual(expected.map((is) => ({ allowed: is })));
            for (const list of [null, people.map((_, index) => key(index + 1))]) {
              expect(
                await db.rows(
                  `select coalesce(decision.granted, $1 <> 'consent') as allowed
                   from unnest($2::bigint[]) with ordinality as given (person, place)
                   left join privacy.latest_decisions($3, $4) as decision on decision.person_id = given.person
                   order by place`,
                  [rules.basis[purpose], people.map((_, index) => key(index + 1)), purpose, list],
                ),
              ).toEqual(expected.map((is) => ({ allowed: is })));
            }
            const { errors } = (await ingest(
              db,
              people.map((userId) => message({ userId, event: purpose })),
            )) as unknown as { errors: { index: number }[] };
            expect(errors.map(({ index }) => index)).toEqual(expected.flatMap((is, index) => (is ? [] : [index])));
          }
        });
      },
    ),
    { numRuns: runs(60, 15, database.native) },
  );
});

test("the birthday has started everywhere: at noon UTC, and on 1 March for 29 February", async () => {
  expect(
    await database.rows(
      `select birth_date::text as born, years, privacy._of_age_at(birth_date, years::smallint) as at
       from (values ('2010-05-07'::date, 16), ('2008-02-29', 16), ('2008-02-29', 13), ('2009-03-01', 15), ('2008-03-01', 13), ('2009-12-31', 18))
         as given (birth_date, years)`,
    ),
  ).toEqual([
    { born: "2010-05-07", years: 16, at: new Date("2026-05-07T12:00Z") },
    { born: "2008-02-29", years: 16, at: new Date("2024-02-29T12:00Z") },
    { born: "2008-02-29", years: 13, at: new Date("2021-03-01T12:00Z") },
    { born: "2009-03-01", years: 15, at: new Date("2024-03-01T12:00Z") },
    { born: "2008-03-01", years: 13, at: new Date("2021-03-01T12:00Z") },
    { born: "2009-12-31", years: 18, at: new Date("2027-12-31T12:00Z") },
  ]);
});

test("is for roles that read decisions, and a learner reads her own", async () => {
  expect(await rolesThatMay(database, "select * from privacy.effective_decisions(array['service'], array[7])")).toEqual(
    ["learner", "instructor", "admin", "worker"],
  );
  await database.query("select privacy.record_birth_date(track.find_person('p1'), current_date - 4000)");
  for (const [person, expected] of [
    ["p1", [{ granted: false }]],
    ["p2", []],
  ] as const)
    await database.as("insights_learner", { "insights.person": person }, async (db) =>
      expect(await db.rows("select granted from privacy.effective_decisions(array['advertising'])")).toEqual(expected),
    );
});
