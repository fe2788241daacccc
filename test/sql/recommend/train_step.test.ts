import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { ingest, refresh } from "../../support/recommend.ts";
import { chains } from "./evaluations.ts";

const database = await testDatabase();

test("does one step after the other, each committed, until the version is stored", async () => {
  await ingest(database, chains(60, algebra.generator(12)));
  await refresh(database);
  const states: string[] = [];
  let version: number | null = null;
  while (version === null) {
    expect(states.length).toBeLessThan(200);
    const [step] = await database.rows<{ version: number | null; kind: string }>(
      "select version, kind from recommend.train_step()",
    );
    version = step?.version ?? null;
    expect(step?.kind).toBe("course");
    states.push(
      await database.value<string>(
        "select coalesce(string_agg(purpose || ' ' || state, ', ' order by evaluation_id), '') from recommend.evaluation",
      ),
    );
  }
  expect(new Set(states)).toEqual(
    new Set([
      "selection running",
      "selection finished",
      "selection finished, deployment running",
      "selection finished, deployment finished",
    ]),
  );
  expect(await database.value("select count(*)::int from ml.model")).toBe(1);
  // The next call begins the next training.
  expect(await database.value("select version from recommend.train_step()")).toBeNull();
  expect(await database.value("select count(*)::int from recommend.evaluation where state = 'running'")).toBe(1);
});

test("refuses a kind that no item has", async () => {
  expect((await database.rejects("select recommend.train_step('curse')")).code).toBe("CF002");
});
