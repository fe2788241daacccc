import { expect, test } from "vitest";
import { kinds, learn, past as learned, simulate, values } from "../../support/alerts.ts";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { past, testMetrics } from "./rules.ts";

const database = await testDatabase();
await testMetrics(database);

interface State {
  labels: Record<string, string>;
  state: string;
  value: number | null;
  lower_bound: number | null;
  upper_bound: number | null;
  samples: number | null;
  basis: string;
}

const state = async (db: Queries): Promise<State[]> =>
  await db.rows<State>(
    "select labels, state, value, lower_bound, upper_bound, samples, basis from monitor.rule_state('r')",
  );

/** The state of rule "r" in a transaction, after its bounds were learned. */
async function stateOf(
  series: { days: number; value: string; labels?: object }[],
  rule: string,
  metric = "insights_a",
): Promise<{ states: State[]; findings: string[] }> {
  return await database.as("postgres", {}, async (db) => {
    for (const each of series) await past(db, { metric, ...each });
    await db.query(`select monitor.set_rule('r', '${metric}', ${rule})`);
    await db.query("select monitor._learn_bounds()");
    const findings = await db.rows<{ found: string }>(
      "select health_check || ': ' || subject || ': ' || severity as found from monitor._check_rules() as found",
    );
    return { states: await state(db), findings: findings.map(({ found }) => found) };
  });
}

test("a set threshold fires when all values of the time are above it", async () => {
  const rule = "threshold => 10, hold => '10 minutes', severity => 'critical'";
  const high = await stateOf([{ days: 1, value: "case when n <= 3 then 11 else 5 end" }], rule);
  expect(high.states).toMatchObject([{ state: "firing", value: 11, upper_bound: 10, lower_bound: null, basis: "set" }]);
  expect(high.findings).toEqual(["r: : critical"]);
  const short = await stateOf([{ days: 1, value: "case when n <= 1 then 11 else 5 end" }], rule);
  expect(short).toMatchObject({ states: [{ state: "pending" }], findings: [] });
  const interrupted = await stateOf([{ days: 1, value: "case when n = 1 then 10 else 11 end" }], rule);
  expect(interrupted).toMatchObject({ states: [{ state: "pending" }], findings: [] });
  const below = await stateOf([{ days: 1, value: "11" }], "direction => 'below', threshold => 10");
  expect(below).toMatchObject({ states: [{ state: "ok" }], findings: [] });
});

test("a learned bound is the median and six standard deviations, from the median absolute deviation", async () => {
  // 0, 1, …, 100 in turn: the median is 50, the median absolute deviation 25.
  const wave = await stateOf([{ days: 7, value: "n % 101" }], "direction => 'both'");
  const [learned] = wave.states;
  expect(learned?.basis).toBe("all hours");
  expect(learned?.samples).toBe(7 * 288 - 11);
  const spread = 1.4826 * 25;
  expect(Math.abs((learned?.upper_bound ?? 0) - (50 + 6 * spread))).toBeLessThan(6 * 1.4826 + 1);
  expect(Math.abs((learned?.lower_bound ?? 0) - (50 - 6 * spread))).toBeLessThan(6 * 1.4826 + 1);
  expect(learned?.state).toBe("ok");
  expect(wave.findings).toEqual([]);
});

test("outliers of the past, and the problem itself, do not move the bound", async () => {
  const rule = "hold => '15 minutes'";
  const calm = await stateOf([{ days: 7, value: "n % 101" }], rule);
  // A tenth of the past was a thousand times as high, and so are the last two hours.
  const value = "case when n <= 24 or n % 10 = 7 then 1e5 else n % 101 end";
  const noisy = await stateOf([{ days: 7, value }], rule);
  expect(noisy.states[0]?.upper_bound).toBeLessThan(1.3 * (calm.states[0]?.upper_bound ?? 0));
  expect(noisy.states[0]).toMatchObject({ state: "firing", value: 1e5 });
  expect(noisy.findings).toEqual(["r: : warning"]);
});

test("a constant series does not fire on noise, and fires on a change", async () => {
  const rule = "direction => 'both', hold => '10 minutes'";
  const constant = (latest: number): Promise<{ findings: string[] }> =>
    stateOf([{ days: 7, value: `case when n <= 3 then ${latest} else 100 end` }], rule);
  expect((await constant(129)).findings).toEqual([]);
  expect((await constant(131)).findings).toEqual(["r: : warning"]);
  expect((await constant(71)).findings).toEqual([]);
  expect((await constant(69)).findings).toEqual(["r: : warning"]);
  // Zero, which has no percentage: six of a count.
  const zero = await stateOf([{ days: 7, value: "case when n <= 3 then 7 else 0 end" }], rule);
  expect(zero.findings).toEqual(["r: : warning"]);
});

test("with four weeks, the present hour of the week is compared with the same hours", async () => {
  // High in this hour of each week, low in all others.
  const isNow =
    "extract(isodow from at) = extract(isodow from now()) and extract(hour from at) = extract(hour from now())";
  const weekly = await stateOf([{ days: 29, value: `case when ${isNow} then 1000 else 10 end` }], "hold => '0'");
  expect(weekly.states).toMatchObject([{ state: "ok", basis: "hour of the week" }]);
  expect(weekly.states[0]?.upper_bound).toBeCloseTo(1000 + 6 * 50, 6);
  // After one week it is not known yet.
  const early = await stateOf([{ days: 6, value: `case when ${isNow} then 1000 else 10 end` }], "hold => '0'");
  expect(early.states).toMatchObject([{ state: "firing", basis: "all hours" }]);
});

test("what the series did for the time on more than a tenth of the days is not a problem", async () => {
  const rule = "hold => '10 minutes'";
  // Half an hour at 20, at the same time of the days before, and now.
  const bursts = (days: string): Promise<{ states: State[] }> =>
    stateOf(
      [{ days: 25, value: `case when n % 288 < 6 and (n < 288 or n / 288 in (${days})) then 20 else 0 end` }],
      rule,
    );
  const usual = await bursts("3, 8, 20");
  expect(usual.states).toMatchObject([{ state: "ok", value: 20, upper_bound: 20 }]);
  const rare = await bursts("3, 8");
  expect(rare.states).toMatchObject([{ state: "firing", value: 20, upper_bound: 6 }]);
});

test("with few values the state is learning, which is not silent and not an alert", async () => {
  const day = await stateOf([{ days: 0, value: "1e9" }], "direction => 'both', hold => '0'");
  expect(day).toMatchObject({ states: [{ state: "learning", upper_bound: null, basis: "learning" }], findings: [] });
});

test("of a counter the increase per second counts, without its restarts", async () => {
  const value = "(2016 - n) * 300.0 - case when n <= 5 then 300000.0 else 0 end";
  const counter = await stateOf([{ days: 7, value }], "direction => 'both'", "insights_b_total");
  expect(counter.states).toMatchObject([{ state: "ok", value: 1, samples: expect.any(Number) }]);
  expect(counter.states[0]?.upper_bound).toBeCloseTo(1.3, 6);
  const stopped = await stateOf(
    [{ days: 7, value: "(2016 - greatest(n, 5)) * 300.0" }],
    "direction => 'both'",
    "insights_b_total",
  );
  expect(stopped).toMatchObject({ states: [{ state: "firing", value: 0 }], findings: ["r: : warning"] });
});

test("each series has a state of its own, and labels choose among them", async () => {
  const both = [
    { labels: { task: "refresh" }, days: 1, value: "1" },
    { labels: { task: "train" }, days: 1, value: "11" },
  ];
  expect(await stateOf(both, "threshold => 10")).toMatchObject({
    states: [
      { labels: { task: "refresh" }, state: "ok" },
      { labels: { task: "train" }, state: "firing" },
    ],
    findings: ['r: {"task": "train"}: warning'],
  });
  expect(await stateOf(both, `labels => '{"task": "refresh"}', threshold => 10`)).toMatchObject({
    states: [{ labels: { task: "refresh" } }],
    findings: [],
  });
});

test("a metric without data is a state, and a problem after an hour while others are measured", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select monitor.set_rule('r', 'insights_a', threshold => 10)");
    expect(await state(db)).toMatchObject([{ state: "no data", value: null }]);
    const found = "select health_check, subject, severity, message from monitor._check_rules()";
    expect(await db.rows(found)).toEqual([]);
    await past(db, { metric: "insights_b_total", days: 1, value: "1" });
    expect(await db.rows(found)).toEqual([]);
    await db.query("update monitor.rule set set_at = now() - interval '2 hours'");
    const absent = [
      {
        health_check: "r",
        subject: "no data",
        severity: "warning",
        message: "insights_a has no recent value, so the rule r cannot be evaluated",
      },
    ];
    expect(await db.rows(found)).toEqual(absent);
    // It was measured, and no longer is.
    await past(db, { metric: "insights_a", days: 1, value: "case when n > 12 then 1 end" });
    expect(await state(db)).toMatchObject([{ state: "no data" }]);
    expect(await db.rows(found)).toEqual(absent);
    await db.query("select monitor.set_rule('r', 'insights_a', threshold => 10, expects_data => false)");
    await db.query("update monitor.rule set set_at = now() - interval '2 hours'");
    expect(await db.rows(found)).toEqual([]);
  });
});

test("samples of a clock that was ahead do not make the data of the present absent", async () => {
  await database.as("postgres", {}, async (db) => {
    await past(db, { metric: "insights_a", days: 1, value: "1" });
    await db.query("select monitor.set_rule('r', 'insights_a', threshold => 10)");
    await db.query("update monitor.rule set set_at = now() - interval '2 hours'");
    await db.query("insert into monitor.sample (sampled_at, measured) values (now() + interval '1 day', '{}')");
    expect(await state(db)).toMatchObject([{ state: "ok", value: 1 }]);
    expect(await db.rows("select health_check from monitor._check_rules()")).toEqual([]);
    // Nothing is measured now: that is a finding of the check "probes", not of each rule.
    await db.query("delete from monitor.sample where sampled_at between now() - interval '31 minutes' and now()");
    expect(await db.rows("select health_check from monitor._check_rules()")).toEqual([]);
  });
});

test("of several series, one without data is a state and no finding", async () => {
  await database.as("postgres", {}, async (db) => {
    await past(db, { metric: "insights_a", labels: { task: "x" }, days: 1, value: "1" });
    await past(db, { metric: "insights_a", labels: { task: "y" }, days: 1, value: "case when n > 12 then 1 end" });
    await db.query("select monitor.set_rule('r', 'insights_a', threshold => 10)");
    await db.query("update monitor.rule set set_at = now() - interval '2 hours'");
    expect((await state(db)).map(({ labels, state }) => [labels["task"], state])).toEqual([
      ["x", "ok"],
      ["y", "no data"],
    ]);
    expect(await db.rows("select health_check from monitor._check_rules()")).toEqual([]);
  });
});

test.each([
  ["0.00052", "0.0005", "0.000520, above the set bound 0.000500"],
  ["0.07", "0.05", "0.0700, above the set bound 0.0500"],
  ["12.3456", "0", "12.346, above the set bound 0.000"],
  ["123456789012", "1e9", "123456789012.000, above the set bound 1000000000.000"],
])("the message of the value %s shows its difference to the bound %s", async (value, threshold, expected) => {
  await database.as("postgres", {}, async (db) => {
    await past(db, { metric: "insights_a", days: 1, value });
    await db.query(`select monitor.set_rule('r', 'insights_a', threshold => ${threshold})`);
    expect(await db.value("select message from monitor._check_rules()")).toBe(`insights_a is ${expected}`);
  });
});

test("an inactive rule finds nothing", async () => {
  expect(await stateOf([{ days: 1, value: "11" }], "threshold => 10, is_active => false")).toMatchObject({
    states: [{ state: "inactive" }],
    findings: [],
  });
});

test("an alert of a rule has its name and owner, and is resolved when it is dropped", async () => {
  await past(database, { metric: "insights_a", days: 1, value: "11" });
  await database.query("select monitor.set_rule('r', 'insights_a', threshold => 10, owner => 'team-b')");
  await database.query("select monitor.watch()");
  expect(await database.rows("select source, subject, owner from monitor.alert where state = 'open'")).toEqual([
    { source: "r", subject: "", owner: "team-b" },
  ]);
  await database.query("select monitor.silence('r', now() + interval '1 hour', 'known'), monitor.drop_rule('r')");
  for (let run = 0; run < 3; run++) {
    await database.query("select monitor.watch()");
    await database.query("update monitor.alert set healthy_since = healthy_since - interval '6 minutes'");
  }
  await database.query("select monitor.watch()");
  expect(await database.value("select state from monitor.alert where source = 'r'")).toBe("resolved");
  await database.query("truncate monitor.alert, monitor.alert_event, monitor.sample, monitor.series cascade");
});

test("an unknown rule is refused", async () => {
  expect(await database.rejects("select monitor.rule_state('x')")).toMatchObject({
    code: "CF002",
    message: 'there is no rule "x"',
  });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select monitor.rule_state()")).toEqual(["analyst", "admin", "worker"]);
});

// Last, because the rows that are rolled back are dead rows, which health finds.
test.each(Object.keys(kinds).flatMap((kind) => [3, 29].map((days) => ({ kind, days }))))(
  "the bounds of $kind after $days days are those of an independent computation",
  async ({ kind, days }) => {
    const now = learned + 31 * 12;
    const series = values(kind, 7, now + 1);
    const since = learned - days * 288;
    const expected = learn(series, now, since);
    await database.as("postgres", {}, async (db) => {
      await db.query("set local timezone to 'UTC'");
      await db.query(
        `insert into monitor.series (metric, labels, first_seen_at, probe, value, measured_at)
         values ('insights_a', '{"task": "simulated"}', now(), 'of_a_test', 0, now())`,
      );
      const id = await db.value<number>("select max(series_id) from monitor.series");
      await db.query(
        `insert into monitor.sample (sampled_at, measured)
         select timestamptz '2026-01-05 00:00Z' + (position - 1 + $2::int) * interval '5 minutes',
           array_fill(null::float8, array[$3::int - 1]) || value
         from unnest($1::float8[]) with ordinality as given (value, position)`,
        [[...series.subarray(since)], since, id],
      );
      const [bound] = await db.rows<Record<string, unknown>>(
        `select basis, median, spread, lowest, highest
         from monitor._learn_bound($1, 'gauge', 'count', '10 minutes',
           timestamptz '2026-01-05 00:00Z' + $2::int * interval '5 minutes')`,
        [id, now],
      );
      expect(bound).toEqual({
        basis: expected?.basis,
        median: expect.closeTo(expected?.median ?? Number.NaN, 6),
        spread: expect.closeTo(expected?.spread ?? Number.NaN, 6),
        lowest: expected?.lowest ?? null,
        highest: expected?.highest ?? null,
      });
    });
  },
);

test.each([
  { kind: "0, bursts of half an hour", perWeek: 1 },
  { kind: "weekly season, days and hours differ", perWeek: 1 },
])("$kind: at most $perWeek alerts a week without a shift, and a shift is found", ({ kind, perWeek }) => {
  const rates = simulate(kind, { learned: 29, repetitions: 1, shift: (value) => 4 * value + 50 });
  expect(rates.perWeek).toBeLessThanOrEqual(perWeek);
  expect(rates.found).toBe(1);
  expect(rates.minutes).toBeLessThanOrEqual(60);
});
