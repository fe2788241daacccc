import { expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
await database.query("select track.ingest($1::jsonb)", [
  JSON.stringify([
    { type: "identify", messageId: "1", userId: "ada", traits: { plan: "pro" } },
    { type: "track", messageId: "2", userId: "ada", event: "Lesson Completed" },
  ]),
]);
const { ask } = await testApi(database);

const define = `mutation ($definition: JSON!) {
  experimentDefineExperiment(input: {definition: $definition}) { result { experimentKey state minimumDuration { days } } }
}`;
const definition = {
  key: "new-player",
  feature: "player",
  variations: [
    { key: "control", value: false },
    { key: "new", value: true },
  ],
  goals: ["lessons"],
  condition: { plan: "pro" },
};

test("an administrator defines, starts, changes, stops and ships an experiment", async () => {
  expect(
    await ask(
      "admin:root",
      `mutation {
        experimentDefineMetric(input: {metricKey: "lessons", type: "count", events: ["Lesson Completed"], cap: "10"}) {
          result { metricKey type cap }
        }
        experimentDefineFeature(input: {featureKey: "player", description: "The new player."}) {
          result { featureKey valueType defaultValue }
        }
        experimentDefineLayer(input: {layer: "page", description: "The page."}) { result { layer } }
        experimentDefineHoldout(input: {holdout: "none", share: 0.1, description: "Without changes."}) { result { share } }
      }`,
    ),
  ).toMatchObject({
    errors: [],
    data: {
      experimentDefineMetric: { result: { metricKey: "lessons", type: "count", cap: "10" } },
      experimentDefineFeature: { result: { featureKey: "player", valueType: "boolean", defaultValue: false } },
      experimentDefineHoldout: { result: { share: 0.1 } },
    },
  });
  expect(await ask("admin:root", define, { definition })).toMatchObject({
    errors: [],
    data: {
      experimentDefineExperiment: {
        result: { experimentKey: "new-player", state: "draft", minimumDuration: { days: 7 } },
      },
    },
  });
  const change = async (call: string) => {
    const { data, errors } = await ask("admin:root", `mutation { changed: ${call} }`);
    expect(errors, call).toEqual([]);
    return data.changed.result;
  };
  expect(await change('experimentStart(input: {experiment: "new-player"}) { result { state } }')).toEqual({
    state: "running",
  });
  expect(
    await change(
      'experimentChangeWeights(input: {experiment: "new-player", weights: [0.4, 0.6]}) { result { weights coverage } }',
    ),
  ).toEqual({ weights: [0.4, 0.6], coverage: 1 });

  // The history names the person of the token.
  const history = await ask("admin:root", '{ experimentHistory(key: "new-player") { nodes { action actor } } }');
  expect(history.data.experimentHistory.nodes).toEqual([
    { action: "defined", actor: "root" },
    { action: "started", actor: "root" },
    { action: "weights changed", actor: "root" },
  ]);
  const stored = await ask("analyst", '{ experimentDefinition(experiment: "new-player") }');
  expect(stored.data.experimentDefinition).toMatchObject({ ...definition, weights: [0.4, 0.6] });

  const mine = await ask("learner:ada", '{ experimentAssignMe(experiment: "new-player") experimentMyFeatures }');
  expect(mine.errors).toEqual([]);
  expect(mine.data.experimentAssignMe).toMatchObject({ inExperiment: true, hashValue: "ada" });
  expect(mine.data.experimentMyFeatures.player).toMatchObject({
    source: "experiment",
    value: mine.data.experimentAssignMe.value,
  });
  const other = await ask("visitor", `{ experimentMyFeatures(attributes: {plan: "pro", id: "ada"}) }`);
  expect(other.data.experimentMyFeatures.player).toMatchObject({ source: "defaultValue" });
  expect((await ask("visitor", "{ experimentFeatures }")).data.experimentFeatures).toMatchObject({
    features: { player: { defaultValue: false, rules: [{ key: "new-player" }] } },
  });
  const person =
    '{ experimentAssign(person: "ada", experiment: "new-player") experimentEvaluateFeatures(person: "ada") experimentAttributes(person: "ada") }';
  expect(await ask("worker", person)).toMatchObject({
    errors: [],
    data: { experimentAssign: mine.data.experimentAssignMe, experimentAttributes: { id: "ada", plan: "pro" } },
  });
  expect((await ask("learner:ada", person)).errors[0]).toMatchObject({ extensions: { code: "42501" } });

  expect(
    await change('experimentStop(input: {experiment: "new-player", reason: "Enough."}) { result { state } }'),
  ).toEqual({ state: "stopped" });
  expect(
    await change(
      'experimentShip(input: {experiment: "new-player", variation: "new"}) { result { state shippedVariation } }',
    ),
  ).toEqual({
    state: "shipped",
    shippedVariation: 1,
  });
  expect((await ask("visitor", "{ experimentMyFeatures }")).data.experimentMyFeatures.player).toMatchObject({
    value: true,
    source: "force",
  });
});

test("others may not change experiments, and an error names the way out", async () => {
  for (const who of ["learner:ada", "analyst", "worker", "visitor"]) {
    expect((await ask(who, define, { definition })).errors, who).toMatchObject([{ extensions: { code: "42501" } }]);
  }
  expect(
    (await ask("admin:root", define, { definition: { ...definition, key: "next", goals: ["lesson"] } })).errors,
  ).toMatchObject([
    { message: 'there is no metric "lesson"', extensions: { code: "CF002", hint: 'Did you mean "lessons"?' } },
  ]);
  expect((await ask("visitor", "{ experimentExperiments { nodes { hypothesis } } }")).errors).toMatchObject([
    { extensions: { code: "42501" } },
  ]);
  const list = await ask(
    "analyst",
    "{ experimentExperiments { nodes { experimentKey state } } experimentFeatureDefinitions { nodes { featureKey } } }",
  );
  expect(list.data.experimentExperiments.nodes).toEqual([{ experimentKey: "new-player", state: "shipped" }]);
});
