import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

interface Reading {
  kind: string;
  version: number;
  former_version: number;
  verdict: string;
}

/** Compares each deployed recommender with the version before, and rolls back a worse one where that is allowed. */
export default defineTask({
  name: "watch_relevance",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      `select exists (
         select from ml.deployment join ml.project using (project_id)
         where starts_with(project.name, 'recommend.') and strategy <> 'first'
       ) as any`,
    );
    return found?.any === true;
  },
  async run(_payload, { call }) {
    const readings = await call<Reading>(
      "select kind, version, former_version, verdict from monitor.watch_relevance()",
      [],
      "5min",
    );
    const worse = readings.filter(({ verdict }) => verdict !== "watching");
    return { rows: readings.length, ...(worse.length > 0 ? { detail: { worse } } : {}) };
  },
});
