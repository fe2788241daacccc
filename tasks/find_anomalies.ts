import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Compares each watched trend with what its past predicts. One that fails, such as of a removed set, stops no other. */
export default defineTask({
  name: "find_anomalies",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>("select exists (select from analytics.trend_watch) as any");
    return found?.any === true;
  },
  async run(_payload, { call }) {
    const watches = await call<{ name: string }>("select name from analytics.trend_watch order by name");
    const failed: string[] = [];
    let error: unknown;
    let rows = 0;
    for (const { name } of watches) {
      try {
        rows += (await call("select bucket_start from analytics.find_anomalies($1)", [name], "1min")).length;
      } catch (problem) {
        failed.push(name);
        error = problem;
      }
    }
    if (failed.length > 0) throw new Error(`of the watched trends, ${failed.join(", ")} failed`, { cause: error });
    return { rows };
  },
});
