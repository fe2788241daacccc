import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

interface Drift {
  project: string;
  statistic: string;
  feature: string | null;
  value: number;
  verdict: string;
}

interface LeftOut {
  project: string;
  left_out: string;
  hint: string;
}

/**
 * Checks whether the inputs of deployed models still have the distribution of their training data. The detail of the
 * run contains the drifted models, and the models whose source cannot be read with a worker's rights.
 */
export default defineTask({
  name: "watch_models",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      "select exists (select from ml.deployment join ml.model using (model_id) where coefficients ? 'kind') as any",
    );
    return found?.any === true;
  },
  async run(_payload, tools) {
    const targets = await tools.call<{ target: string }>("select target from analytics.prediction_target order by 1");
    const measured: Drift[] = [];
    for (const [watch, ...values] of [
      ["ml.watch_models()"],
      // One model per statement: other clients use the session of the embedded database in between.
      ...targets.map(({ target }) => ["analytics.watch_predictions($1)", target]),
    ]) {
      if (tools.stopping) break;
      measured.push(
        ...(await tools.call<Drift>(
          `select project.name as project, statistic, feature, value, verdict
           from ${watch} as drift
           join ml.model using (model_id)
           join ml.project using (project_id)`,
          values,
        )),
      );
    }
    const leftOut = await tools.call<LeftOut>(
      "select project, left_out, hint from ml._watched() where left_out is not null",
    );
    return {
      rows: measured.length,
      detail: {
        drifted: measured.filter(({ verdict }) => verdict === "drifted"),
        ...(leftOut.length > 0 ? { left_out: leftOut } : {}),
      },
    };
  },
});
