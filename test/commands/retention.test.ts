import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase();
endAtEndOfFile();
const environment = { DATABASE_URL: database.url(), INSIGHTS_POOLER: String(!database.native) };

async function call(...words: string[]): Promise<{ code: number | null; out: string; said: string }> {
  const running = insights(["retention", ...words], environment);
  return { code: await running.exitCode(), out: running.printed(), said: running.output() };
}

const at = (days: number): string => new Date(Date.now() - days * 86_400_000).toISOString();
await database.query("select track.ingest($1)", [
  JSON.stringify(
    [1, 200, 201].map((days) => ({
      type: "track",
      messageId: `m${days}`,
      userId: "ada",
      event: "Seen",
      timestamp: at(days),
    })),
  ),
]);
const events = () => database.value<number>("select count(*)::int from track.event");

test("sets a rule, prints the plan, and deletes only with --yes", async () => {
  expect(await call("plan")).toMatchObject({ code: 0, out: expect.stringContaining("There is no rule") });
  expect(await call("set", "event", "1 year")).toMatchObject({
    code: 1,
    said: expect.stringContaining('Did you mean "events"?'),
  });
  expect(await call("set", "events", "90 days", "--keep-sums")).toMatchObject({
    code: 0,
    out: "set events: see insights retention plan\n",
  });
  const planned = await call("plan", "--json");
  expect(JSON.parse(planned.out)).toMatchObject([{ rule: "events", row_count: "2", table_name: "track.event" }]);
  expect((await call("plan")).out).toContain("events");
  expect(await call("apply")).toMatchObject({ code: 1, said: expect.stringContaining("cannot be undone") });
  expect(await events()).toBe(3);
  expect(await call("apply", "--yes")).toMatchObject({ code: 0, out: expect.stringContaining("2 rows.") });
  expect(await events()).toBe(1);
  expect(await call("drop", "events")).toMatchObject({ code: 0, out: "dropped\n" });
  expect(await call("drop", "events")).toMatchObject({ code: 0, out: "there was no such rule\n" });
});

test.each(["soon", "", "9999999999 years", "infinity", "0 days", "23 hours"])(
  "the time %j is refused with a hint",
  async (keep) => {
    const refused = await call("set", "events", keep);
    expect(refused.code).toBe(1);
    expect(refused.said).toMatch(/^error: keep is /m);
    expect(refused.said).toMatch(/^hint: Give an interval from 1 day to 1000 years/m);
  },
);

test("a clock that went back is an error, unless it is confirmed", async () => {
  await call("set", "events", "90 days");
  await database.query("update privacy.retention_clock set applied_at = now() + interval '1 day'");
  expect(await call("apply", "--yes")).toMatchObject({ code: 1, said: expect.stringContaining("[CF005]") });
  expect(await call("apply", "--yes", "--confirm-clock")).toMatchObject({ code: 0 });
});
