import { defineTask, emptyPayload } from "../src/worker/define-task.ts";
import { refreshAll } from "../src/worker/refresh.ts";

/** Clusters people by their behaviour each week, and in the night after an erasure or a change of the settings. */
export default defineTask({
  name: "fit_clusters",
  payload: emptyPayload,
  async due(_payload, { call }) {
    // Without clusters, there were too few people: tried again each night.
    const [found] = await call<{ any: boolean }>(
      `select
         is_marked
           or tried_at is null
           or (tried_at at time zone 'UTC')::date <= (now() at time zone 'UTC')::date
             - case when exists (select from analytics.clusters()) then refit_days else 1 end as any
       from analytics.cluster_setting`,
    );
    return found?.any === true;
  },
  async run(_payload, tools) {
    await refreshAll(tools.call, { stopping: () => tools.stopping });
    const [fit] = await tools.call<{ people: number; clusters: number; silhouette: number }>(
      "select person_count as people, cluster_count as clusters, silhouette from analytics.fit_clusters()",
      [],
      "10min",
    );
    return { rows: fit?.people ?? 0, detail: fit ?? { clusters: 0 } };
  },
});
