import { expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld, refresh } from "../support/world.ts";

/*
 * The feedback loop as an application runs it: a list is served, its rows are shown, answered and withdrawn, and the next
 * list follows.
 */
const database = await testDatabase();
await makeWorld(database);
await database.query("select recommend.train()");
const { ask } = await testApi(database);

const serve =
  "mutation { recommendServeMe(input: {top: 3}) { result { rank item basis servingId propensity nextPage } } }";
const send = `mutation ($feedback: String!, $item: String, $value: Float, $topic: String, $servingId: String) {
  recommendFeedback(input: {feedback: $feedback, item: $item, value: $value, topic: $topic, servingId: $servingId}) { result }
}`;
const mine = "{ recommendForMe { nodes { item } } }";
const stored = "{ recommendImpressions { nodes { rank isServed seenAt clickedAt dismissedAt itemId } } }";
interface Row {
  item: string;
  rank: number;
  servingId: string;
}

const listOf = async (person: string): Promise<string[]> =>
  (await ask(person, mine)).data.recommendForMe.nodes.map(({ item }: Row) => item);

test("a learner is served a list, answers, and gets another one", async () => {
  const { data, errors } = await ask("learner:ada", serve);
  expect(errors).toEqual([]);
  const rows: Row[] = data.recommendServeMe.result;
  expect(rows.map(({ rank }) => rank)).toEqual([1, 2, 3]);
  expect(rows.map(({ item }) => item)).toEqual((await listOf("learner:ada")).slice(0, 3));

  const [first, second] = rows;
  for (const [variables, result] of [
    [{ feedback: "show", servingId: first?.servingId }, true],
    [{ feedback: "click", servingId: first?.servingId }, true],
    [{ feedback: "dismiss", servingId: second?.servingId }, true],
  ] as const) {
    const answer = await ask("learner:ada", send, variables);
    expect(answer.errors).toEqual([]);
    expect(answer.data.recommendFeedback.result).toBe(result);
  }
  expect(await listOf("learner:ada")).not.toContain(second?.item);
  await ask("learner:ada", send, { feedback: "withdraw", item: second?.item });
  expect(await listOf("learner:ada")).toContain(second?.item);

  await refresh(database);
  const impressions = (await ask("learner:ada", stored)).data.recommendImpressions.nodes;
  expect(
    impressions
      .map(({ rank, isServed, seenAt, clickedAt, dismissedAt }: Record<string, unknown>) => [
        rank,
        isServed,
        seenAt !== null,
        clickedAt !== null,
        dismissedAt !== null,
      ])
      .sort(),
  ).toEqual([
    [1, true, true, true, false],
    [2, true, true, false, false],
    [3, true, false, false, false],
  ]);
  expect((await ask("learner:ben", stored)).data.recommendImpressions.nodes).toEqual([]);
});

test("errors state what is wrong, and a learner cannot answer for another one", async () => {
  const { data } = await ask("learner:cleo", serve);
  const servingId: string = data.recommendServeMe.result[0].servingId;
  for (const [person, variables, code, message] of [
    ["learner:ben", { feedback: "click", servingId }, "CF005", "is that of another person"],
    ["learner:cleo", { feedback: "click", servingId: `1${servingId}` }, "CF009", "has an invalid signature"],
    ["learner:cleo", { feedback: "klick", servingId }, "CF002", 'there is no feedback "klick"'],
    ["learner:cleo", { feedback: "rate", servingId, value: 17 }, "CF001", "value is 17"],
  ] as const) {
    const { errors } = await ask(person, send, variables);
    expect(errors).toMatchObject([{ message: expect.stringContaining(message), extensions: { code } }]);
  }
  for (const call of [
    'recommendPersonFeedback(input: {person: "ben", feedback: "like", item: "course-drama"}) { result }',
    'recommendServePerson(input: {person: "ben"}) { result { item } }',
    "recommendServingReport { nodes { name } }",
  ]) {
    const { errors } = await ask(
      "learner:cleo",
      call.startsWith("recommendServingReport") ? `{ ${call} }` : `mutation { ${call} }`,
    );
    expect(errors).toMatchObject([{ message: expect.stringMatching(/not allowed|permission/i) }]);
  }
  expect((await ask("visitor", send, { feedback: "like", item: "course-drama" })).errors).not.toEqual([]);
});

test("a time that PostgreSQL cannot read is an error of the request", async () => {
  for (const since of ["tomorrowish", "-4000-01-01", "2026-01-01T00:00:00+99", "999999-01-01"]) {
    const { errors } = await ask("admin", `{ recommendServingReport(since: "${since}") { nodes { name } } }`);
    expect(errors, since).toMatchObject([
      { message: expect.stringMatching(/not a valid time|out of range/), extensions: { code: "CF009" } },
    ]);
  }
});

test("a visitor is served a list for items, and her browser's events join it", async () => {
  const { data, errors } = await ask(
    "visitor",
    'mutation { recommendServeItems(input: {items: ["course-algebra"], top: 2}) { result { item servingId } } }',
  );
  expect(errors).toEqual([]);
  const [first]: Row[] = data.recommendServeItems.result;
  await refresh(database);
  const before = Number(await database.value("select count(*) from recommend.impression"));
  await ask("visitor", "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }", {
    batch: [
      {
        type: "track",
        messageId: "a click",
        anonymousId: "the visitor's browser",
        event: "Recommendation Clicked",
        properties: { item: first?.item, servingId: first?.servingId },
      },
    ],
  });
  await refresh(database);
  expect(Number(await database.value("select count(*) from recommend.impression"))).toBe(before + 1);
});

test("admins and workers answer for people, and read the report and the estimate", async () => {
  const served = await ask(
    "admin",
    'mutation { recommendServePerson(input: {person: "dan", top: 1}) { result { servingId } } }',
  );
  expect(served.errors).toEqual([]);
  const { errors, data } = await ask(
    "admin",
    'mutation ($id: String!) { recommendPersonFeedback(input: {person: "dan", feedback: "click", servingId: $id}) { result } }',
    { id: served.data.recommendServePerson.result[0].servingId },
  );
  expect(errors).toEqual([]);
  expect(data.recommendPersonFeedback.result).toBe(true);
  await refresh(database);
  const report = await ask(
    "admin",
    '{ recommendServingReport(by: "rank", until: "2099-01-01T00:00:00Z") { nodes { name personCount servedCount clickedCount clickRateUpper } } recommendOffPolicyEstimate(policy: "random") { slots ips } }',
  );
  expect(report.errors).toEqual([]);
  expect(report.data.recommendServingReport.nodes[0]).toMatchObject({ name: "1" });
  expect(report.data.recommendOffPolicyEstimate).toEqual({ slots: "0", ips: null });
  expect((await ask("analyst", "{ recommendServingReport { nodes { name } } }")).errors).toEqual([]);
});
