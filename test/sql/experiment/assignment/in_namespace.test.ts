import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { published } from "../../../support/growthbook.ts";

const database = await testDatabase();

const inNamespace = (value: string | null, namespace: unknown): Promise<boolean> =>
  database.value("select experiment.in_namespace($1, $2)", [value, JSON.stringify(namespace)]);

test("gives GrowthBook's published answers", async () => {
  const cases = published<[string, unknown[], boolean]>("inNamespace");
  expect(cases).toHaveLength(16);
  for (const { place, values } of cases) {
    const [value, namespace, expected] = values;
    expect(await inNamespace(value, namespace), place).toBe(expected);
  }
});

test("the parts of a namespace share all people", async () => {
  for (let person = 0; person < 200; person++) {
    const parts = await Promise.all(
      [0, 0.25, 0.5, 0.75].map((low) => inNamespace(`person ${person}`, ["layer", low, low + 0.25])),
    );
    expect(parts.filter(Boolean), `person ${person}`).toHaveLength(1);
  }
});

test("a namespace without bounds holds nobody, and another value than an array is refused", async () => {
  expect(await inNamespace("1", ["layer"])).toBe(false);
  expect(await inNamespace("1", ["layer", "x", 1])).toBe(false);
  expect(await inNamespace(null, ["layer", 0, 1])).toBe(false);
  const error = await database.rejects(`select experiment.in_namespace('1', '{"name": "layer"}')`);
  expect(error.code).toBe("CF009");
  expect(error.message).toBe('a namespace is {"name": "layer"}, not an array of a name and two numbers');
});
