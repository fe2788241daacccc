import { expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

const database = await testDatabase();
await makeWorld(database);
await database.query("select recommend.train()");
const { ask } = await testApi(database);

const why = `query ($item: String!) {
  recommendWhyNotMe(item: $item) { item title isRecommended rule detail rank score basis }
}`;
const whyNot = async (item: string, who = "learner:ada") => {
  const { data, errors } = await ask(who, why, { item });
  expect(errors).toEqual([]);
  return data.recommendWhyNotMe;
};

test("a learner learns why a course is not in her list", async () => {
  expect(await whyNot("course-algebra")).toEqual({
    item: "course-algebra",
    title: "Algebra",
    isRecommended: false,
    rule: "taken",
    detail: "Taken already",
    rank: null,
    score: null,
    basis: null,
  });
  expect(await whyNot("course-analysis")).toMatchObject({ isRecommended: true, rule: null, rank: 1, basis: "model" });
});

test("an administrator sets a rule, which applies to the next list, and drops it", async () => {
  const set = `mutation ($name: String!, $items: [String]) {
    recommendSetRule(input: {name: $name, action: "exclude", items: $items, isActive: true}) {
      result { name action hasItems isActive }
    }
  }`;
  const variables = { name: "people_who_may_leave", items: ["course-analysis"] };
  for (const who of ["learner:ada", "analyst", "worker", "visitor"]) {
    expect((await ask(who, set, variables)).errors, who).toMatchObject([{ extensions: { code: "42501" } }]);
  }
  expect(await ask("admin:root", set, variables)).toMatchObject({
    errors: [],
    data: {
      recommendSetRule: { result: { name: "people_who_may_leave", action: "exclude", hasItems: true, isActive: true } },
    },
  });

  // The learner gets the action, not the name.
  expect(await whyNot("course-analysis")).toMatchObject({
    rule: "exclude",
    detail: "Not offered at present",
    rank: null,
  });
  const { data } = await ask("learner:ada", "{ recommendForMe { nodes { item } } }");
  expect(data.recommendForMe.nodes.map(({ item }: { item: string }) => item)).not.toContain("course-analysis");
  const ranked = await ask(
    "learner:ada",
    `{ recommendRankMyItems(items: ["course-analysis", "course-drama", "course-algebra"]) { nodes { rank item rule detail } } }`,
  );
  expect(ranked.data.recommendRankMyItems.nodes).toMatchObject([
    { rank: 1, item: "course-drama", rule: null },
    { rank: null, item: "course-analysis", rule: "exclude" },
    { rank: null, item: "course-algebra", rule: "taken" },
  ]);
  const told = await ask("admin:root", '{ recommendWhyNot(person: "ada", item: "course-analysis") { rule } }');
  expect(told.data.recommendWhyNot).toEqual({ rule: "people_who_may_leave" });

  const log = await ask("admin:root", "{ recommendRuleLogs { nodes { name settings actor } } }");
  expect(log.data.recommendRuleLogs.nodes).toMatchObject([
    { name: "people_who_may_leave", settings: { action: "exclude", items: ["course-analysis"] }, actor: "root" },
  ]);
  const rules = "{ recommendRules { nodes { name action } } }";
  expect((await ask("analyst", rules)).data.recommendRules.nodes).toContainEqual({
    name: "people_who_may_leave",
    action: "exclude",
  });
  expect((await ask("learner:ada", rules)).errors).toMatchObject([{ extensions: { code: "42501" } }]);

  const drop = 'mutation { recommendDropRule(input: {name: "people_who_may_leave"}) { clientMutationId } }';
  expect((await ask("admin:root", drop)).errors).toEqual([]);
  expect(await whyNot("course-analysis")).toMatchObject({ isRecommended: true });
});

test("an invalid rule is answered with what would be valid", async () => {
  const { errors } = await ask(
    "admin:root",
    'mutation { recommendSetRule(input: {name: "x", action: "exclude", items: ["course-analysys"]}) { result { name } } }',
  );
  expect(errors).toMatchObject([
    {
      message: 'there is no item "course-analysys"',
      extensions: { code: "CF002", hint: 'Did you mean "course-analysis"?' },
    },
  ]);
});
