import { z } from "zod";
import { defineTask, workOff } from "../src/worker/define-task.ts";

/** Sessions, page views and engaged time of the people whose events came in, then what is derived from those. */
export default defineTask({
  name: "refresh",
  payload: z.object({ most_people: z.int().min(1).optional() }),
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      "select exists (select from track.stale) or exists (select from track.changed) as any",
    );
    return found?.any === true;
  },
  async run({ most_people }, tools) {
    const { people, calls, left } = await workOff(tools, (most) => `track.refresh_sessions(${most})`, most_people);
    await tools.next("refresh_activity");
    await tools.next("refresh_interactions");
    return { rows: people, detail: { calls, ...(left ? { left } : {}) } };
  },
});
