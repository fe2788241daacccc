import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TaskList } from "graphile-worker";
import applyRetention from "../../tasks/apply_retention.ts";
import checkRollups from "../../tasks/check_rollups.ts";
import decideExperiments from "../../tasks/decide_experiments.ts";
import deleteOldRefusals from "../../tasks/delete_old_refusals.ts";
import deleteOldRuns from "../../tasks/delete_old_runs.ts";
import erase from "../../tasks/erase.ts";
import evaluate from "../../tasks/evaluate.ts";
import findAnomalies from "../../tasks/find_anomalies.ts";
import fitClusters from "../../tasks/fit_clusters.ts";
import makePartitions from "../../tasks/make_partitions.ts";
import notify from "../../tasks/notify.ts";
import observe from "../../tasks/observe.ts";
import packMessages from "../../tasks/pack_messages.ts";
import refresh from "../../tasks/refresh.ts";
import refreshCohorts from "../../tasks/refresh_cohorts.ts";
import refreshDecisions from "../../tasks/refresh_decisions.ts";
import refreshViews from "../../tasks/refresh_views.ts";
import seal from "../../tasks/seal.ts";
import thinSamples from "../../tasks/thin_samples.ts";
import train from "../../tasks/train.ts";
import trainPredictions from "../../tasks/train_predictions.ts";
import updateBandits from "../../tasks/update_bandits.ts";
import vacuum from "../../tasks/vacuum.ts";
import verifyLedger from "../../tasks/verify_ledger.ts";
import watch from "../../tasks/watch.ts";
import watchModels from "../../tasks/watch_models.ts";
import watchRelevance from "../../tasks/watch_relevance.ts";
import { packageRoot } from "../paths.ts";
import { identifier } from "./define-task.ts";

const tasks = {
  apply_retention: applyRetention,
  check_rollups: checkRollups,
  decide_experiments: decideExperiments,
  delete_old_refusals: deleteOldRefusals,
  delete_old_runs: deleteOldRuns,
  erase,
  evaluate,
  fit_clusters: fitClusters,
  make_partitions: makePartitions,
  notify,
  observe,
  pack_messages: packMessages,
  refresh,
  refresh_cohorts: refreshCohorts,
  refresh_decisions: refreshDecisions,
  refresh_views: refreshViews,
  seal,
  thin_samples: thinSamples,
  train,
  train_predictions: trainPredictions,
  update_bandits: updateBandits,
  vacuum,
  verify_ledger: verifyLedger,
  watch,
  watch_models: watchModels,
  find_anomalies: findAnomalies,
  watch_relevance: watchRelevance,
};

/**
 * The tasks by name (`insights:refresh`, …), for an existing graphile-worker:
 * `run({ taskList: { ...yours, ...taskList }, crontab: yours + crontab })`.
 */
export const taskList: TaskList = Object.fromEntries(
  Object.entries(tasks).map(([name, task]) => [identifier(name), task]),
);

/** The same for graphile-worker's `taskDirectory`, which may be this file. */
export default taskList;

/** The schedule of the tasks. */
export const crontab: string = readFileSync(join(packageRoot, "crontab"), "utf8");
