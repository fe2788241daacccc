import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing } from "./assessment.ts";

const database = await lab();
const { load, single } = assessing(database);

describe("measures of a probability", () => {
  test("log loss and Brier score are those of the definitions, never infinite", async () => {
    await load([
      { prediction: 0.9, observed: 1 },
      { prediction: 0.2, observed: 0 },
      { prediction: 0.6, observed: 0 },
    ]);
    expect(await single("log_loss")).toBeCloseTo(-(Math.log(0.9) + Math.log(0.8) + Math.log(0.4)) / 3, 12);
    await load([{ prediction: 0, observed: 1 }]);
    expect(await single("log_loss")).toBeCloseTo(-Math.log(1e-15), 10);
  });
});

describe("invalid input is refused by name", () => {
  const call = (name: string, more = "", prediction = "prediction", table = "lab.pairs", out = "lab.refused"): string =>
    `select ml.${name}('${table}', '${out}', '${prediction}', 'observed'${more})`;

  test("tables and columns", async () => {
    await load([{ prediction: 0.5, observed: 1 }]);
    expect(await database.rejects(call("log_loss", "", "prediction", "lab.pears"))).toMatchObject({
      code: "CF002",
      hint: 'Did you mean "lab.pairs"?',
    });
    expect(await database.rejects(call("log_loss", "", "predicted"))).toMatchObject({
      code: "CF002",
      hint: 'Did you mean "prediction"?',
    });
    expect(await database.rejects(call("log_loss", "", "course"))).toMatchObject({ code: "CF001" });
    expect(await database.rejects(call("log_loss", "", "prediction", "lab.pairs", "lab.pairs"))).toMatchObject({
      code: "CF003",
    });
    expect(await database.rejects(call("log_loss", "", "1) from lab.pairs; drop table lab.pairs; --"))).toMatchObject({
      code: "CF001",
    });
    expect(await database.value("select count(*)::int from lab.pairs")).toBe(1);
    expect(await database.value("select to_regclass('lab.refused')")).toBeNull();
  });
});
