import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { constant } = registry(database);

beforeAll(async () => {
  for (const answer of [10, 20, 30]) await constant("house.price", answer);
  await database.query("select ml.deploy('house.price', 1); select ml.deploy('house.price', 2)");
});

describe("versions", () => {
  test("are deployed manually, and rolled back one after the other to the first", async () => {
    const deployed = (): Promise<number> => database.value("select (ml._version('house.price')).version");
    expect(await database.value("select ml.deploy('house.price', 3)")).toBe(3);
    expect(await deployed()).toBe(3);
    expect(await database.value("select ml.rollback('house.price')")).toBe(2);
    expect(await deployed()).toBe(2);
    expect(await database.value("select ml.rollback('house.price')")).toBe(1);
    expect(await database.rejects("select ml.rollback('house.price')")).toMatchObject({ code: "CF004" });
    expect(await database.value("select ml.deploy('house.price', 2)")).toBe(2);
    expect(await database.value("select ml.rollback('house.price')")).toBe(1);
    await database.query("select ml.deploy('house.price', 2)");
  });
});

describe("errors", () => {
  test("an unknown project, and one whose versions were never deployed", async () => {
    expect(await database.rejects("select ml.rollback('house.prize')")).toMatchObject({ code: "CF002" });
    await constant("house.shelf", 1);
    expect(await database.rejects("select ml.rollback('house.shelf')")).toMatchObject({ code: "CF004" });
  });

  test("analysts may not", async () => {
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.rejects("select ml.rollback('house.price')")).toMatchObject({ code: "42501" });
    });
  });
});
