import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { putTied } from "./regression.ts";

const database = await lab();
beforeAll(() => putTied(database));

async function clustered(strata: string, clusters: string): Promise<{ clustered_se: number[]; clustervar: string }> {
  await database.query("drop table if exists lab.model, lab.model_summary, lab.clustered");
  await database.query(`select ml.coxph_train('lab.tied', 'lab.model', 'time', 'array[a, b]', 'seen', ${strata})`);
  await database.query(`select ml.clustered_variance_coxph('lab.model', 'lab.clustered', '${clusters}')`);
  const [row] = await database.rows<{ clustered_se: number[]; clustervar: string }>("select * from lab.clustered");
  if (row === undefined) throw new Error("no model");
  return row;
}

test("R's coxph(method = 'breslow', cluster = learner), with ties", async () => {
  // R 4.2, survival 3.5: sqrt(diag(fit$var))
  const fit = await clustered("null", "learner");
  expect(fewestDigits(fit.clustered_se, [0.0950167580185986, 0.4876464747581857])).toBeGreaterThan(9);
  expect(fit.clustervar).toBe("learner");
});

test("a cluster extends over strata", async () => {
  // R: coxph(Surv(time, seen) ~ a + b + strata(stratum), method = 'breslow', cluster = learner)
  const fit = await clustered("'stratum'", "learner");
  expect(fewestDigits(fit.clustered_se, [0.104602419905379, 0.411448455155557])).toBeGreaterThan(9);
});

test("clusters of one row are the robust variance", async () => {
  const fit = await clustered("null", "learner, row_no");
  expect(fewestDigits(fit.clustered_se, [0.107880751995338, 0.31434772320679])).toBeGreaterThan(9);
});

test("no, unknown and single clusters are refused", async () => {
  await clustered("null", "learner");
  for (const [cluster, code] of [
    ["", "CF001"],
    ["learners", "CF002"],
    ["constant", "CF004"],
  ]) {
    const error = await database.rejects(`select ml.clustered_variance_coxph('lab.model', 'lab.none', '${cluster}')`);
    expect(error.code, cluster).toBe(code);
  }
});
