import { z } from "zod";
import { InsightsError } from "../src/errors.ts";
import { defineTask } from "../src/worker/define-task.ts";
import { refreshAll } from "../src/worker/refresh.ts";

/** Refreshes all data derived from events, decisions and lists: changed names, sessions, each consumer of `track.consumer`. */
export default defineTask({
  name: "refresh",
  payload: z.object({ most_people: z.int().min(1).optional() }),
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      `select exists (select from track.stale) or exists (select from track.changed)
         or exists (select from track.renamed_month) or exists (select from track.stale_property)
         or exists (select from track.declared_property where not is_queued)
         or exists (select from recommend.serving_call) as any`,
    );
    return found?.any === true;
  },
  async run({ most_people: mostPeople }, tools) {
    const { steps, failed } = await refreshAll(tools.call, { mostPeople, stopping: () => tools.stopping });
    if (failed.length > 0) throw new InsightsError(`failed: ${failed.join("; ")}`);
    return { rows: Math.max(...Object.values(steps).map(({ people }) => people)), detail: { steps } };
  },
});
