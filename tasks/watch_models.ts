import { defineTask, nothing } from "../src/task.ts";

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
 * Whether what the deployed models meet is still what they were trained on. The run's detail has what has drifted, and the
 * models whose source is not read with a worker's rights.
 */
export default defineTask({
  name: "watch_models",
  payload: nothing,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      "select exists (select from ml.deployment join ml.model using (model_id) where coefficients ? 'kind') as any",
    );
    return found?.any === true;
  },
  async run(_payload, { call }) {
    const measured: Drift[] = [];
    for (const watch of ["ml.watch_models()", "analytics.watch_predictions()"]) {
      measured.push(
        ...(await call<Drift>(
          `select project.name as project, statistic, feature, value, verdict
           from ${watch} as drift
           join ml.model using (model_id)
           join ml.project using (project_id)`,
        )),
      );
    }
    const leftOut = await call<LeftOut>("select project, left_out, hint from ml._watched() where left_out is not null");
    return {
      rows: measured.length,
      detail: {
        drifted: measured.filter(({ verdict }) => verdict === "drifted"),
        ...(leftOut.length > 0 ? { left_out: leftOut } : {}),
      },
    };
  },
});
