import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { putVotes, train } from "./regression.ts";

const database = await lab();
beforeAll(() => putVotes(database));

interface Fit {
  category: number;
  std_err: number[];
  num_clusters: string;
}

const clustered = (clusters: string): Promise<Fit[]> =>
  train<Fit>(database, `ml.clustered_variance_mlogregr('lab.vote', 'lab.model', 'y', 'array[1, a, b]', '${clusters}')`);

test("the definition, computed in R, with m / (m - 1) (n - 1) / (n - k) as MADlib", async () => {
  // R 4.2: sqrt(diag(H^-1 crossprod(rowsum(U, learner)) H^-1) * 10 / 9 * 89 / 84)
  const fits = await clustered("learner");
  expect(fits.map(({ category, num_clusters }) => [category, num_clusters])).toEqual([
    [1, "10"],
    [2, "10"],
  ]);
  expect(
    fewestDigits(fits[0]?.std_err ?? [], [0.597253437392493, 0.129081412067252, 0.717316107424368]),
  ).toBeGreaterThan(8);
  expect(
    fewestDigits(fits[1]?.std_err ?? [], [0.483613020580699, 0.133438937528651, 0.551678271589254]),
  ).toBeGreaterThan(8);
});

test("clusters of one row are the robust variance, but for the correction", async () => {
  const fits = await clustered("learner, row_no");
  const correction = Math.sqrt((90 / 89) * (89 / 84));
  expect(
    fewestDigits(
      fits[0]?.std_err ?? [],
      [0.48370367860464, 0.206146642437094, 0.593002647149424].map((value) => value * correction),
    ),
  ).toBeGreaterThan(8);
});

test("no, unknown and single clusters are refused", async () => {
  for (const [cluster, code] of [
    ["", "CF001"],
    ["learners", "CF002"],
    ["constant", "CF004"],
  ]) {
    const call = `select ml.clustered_variance_mlogregr('lab.vote', 'lab.none', 'y', 'array[1, a, b]', '${cluster}')`;
    expect((await database.rejects(call)).code, cluster).toBe(code);
  }
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
