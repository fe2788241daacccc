import { beforeEach, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { constant, imported } = registry(database);

const deployed = (): Promise<number | null> => database.value("select ml.deployed_version('house.price')");
const mark = (more = ""): Promise<number> => database.value(`select ml.mark_for_training('house.price' ${more})`);

beforeEach(async () => {
  await database.query(
    "delete from ml.deployment; delete from ml.comparison; delete from ml.model; delete from ml.project",
  );
  for (const answer of [10, 20, 30]) await constant("house.price", answer);
  await database.query("select ml.deploy('house.price', 2)");
});

describe("ml.mark_for_training", () => {
  test("ends the use of the deployed version, whose place the next one takes", async () => {
    expect(await deployed()).toBe(2);
    expect(await mark(", 'a person was erased'")).toBe(3);
    expect(await mark()).toBe(0);
    expect(await deployed()).toBeNull();
    expect(
      await database.rows("select version, marked_at is not null as marked, marked_reason from ml.model order by 1"),
    ).toEqual([1, 2, 3].map((version) => ({ version, marked: true, marked_reason: "a person was erased" })));
    for (const version of ["", ", 2", ", 1"])
      expect(await database.rejects(`select ml.predict('house.price', '{}' ${version})`)).toMatchObject({
        code: "CF006",
        message: `${version === "" ? "the deployed version" : `version${version.slice(1)}`} of "house.price" is marked for training`,
      });

    await imported("house.price", "linear", { intercept: 40, coefficients: {} });
    expect(await deployed()).toBe(4);
    expect(await database.value("select ml.predict('house.price', '{}')")).toBe(40);
  });

  test("marks some versions, and leaves the others in use", async () => {
    expect(await mark(", versions => '{1,3,3}'")).toBe(2);
    expect(await deployed()).toBe(2);
    expect(await mark(", versions => '{}'")).toBe(0);
    expect(await database.value("select ml.predict('house.price', '{}')")).toBe(20);
    expect((await database.rejects("select ml.predict('house.price', '{}', 3)")).code).toBe("CF006");
  });

  test("refuses what does not exist, and is for those who train", async () => {
    expect(await database.rejects("select ml.mark_for_training('house.prize')")).toMatchObject({ code: "CF002" });
    expect(await database.rejects("select ml.mark_for_training(null)")).toMatchObject({ code: "CF002" });
    expect(await database.rejects("select ml.mark_for_training('house.price', versions => '{1,7}')")).toMatchObject({
      code: "CF002",
      message: '"house.price" has no version 7',
    });
    expect(await database.rejects("select ml.mark_for_training('house.price', '')")).toMatchObject({ code: "CF001" });
    expect(await rolesThatMay(database, "select ml.mark_for_training('house.price')")).toEqual(["admin", "worker"]);
  });
});
